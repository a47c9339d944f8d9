// Makes and withdraws API tokens through JupyterHub's REST API.
const page = document.getElementById("tokens");
const failed = document.getElementById("token-failed");

async function ask(method, path, body) {
  failed.hidden = true;
  const answer = await fetch(page.dataset.api + path, {
    method,
    headers: { "Content-Type": "application/json", "X-XSRFToken": page.dataset.xsrf },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) {
    failed.hidden = false;
    throw new Error(`${method} ${path}: ${answer.status}`);
  }
  return answer.status === 204 ? null : answer.json();
}

document.getElementById("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = event.target.elements;
  const made = await ask("POST", "", { note: fields.note.value, expires_in: Number(fields.expires.value) });
  document.getElementById("token-value").textContent = made.token;
  document.getElementById("token-made").hidden = false;
});

for (const row of document.querySelectorAll("[data-token]")) {
  row.querySelector("button").addEventListener("click", async () => {
    await ask("DELETE", "/" + encodeURIComponent(row.dataset.token));
    row.remove();
  });
}
