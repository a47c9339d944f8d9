// Keeps what is free of each choice up to date while the page is open; without it the page shows what was free before.
const form = document.getElementById("choose");
const seconds = 15;

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(form.dataset.choices, { headers: { Accept: "application/json" }, redirect: "error" });
    if (!answer.ok) return;
    for (const choice of await answer.json()) {
      const line = document.getElementById("free-" + choice.id);
      if (!line || line.textContent === choice.text) continue;
      line.textContent = choice.text;
      line.dataset.state = choice.state;
    }
  } catch {
    // The next look may succeed; what is shown was true a moment ago.
  }
}

if (document.getElementById("choices")) {
  setInterval(look, seconds * 1000);
  document.addEventListener("visibilitychange", look);
}
