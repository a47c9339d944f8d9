// A teacher's actions: each button names the addresses to call one after the other, and the sentence for when all went
// well. What the server did is told in a dialog; after it the page is drawn anew.
const csrf = document.querySelector("[data-csrf]").dataset.csrf;
const told = document.getElementById("told");
const parts = { title: told.querySelector("h2"), text: told.querySelector("p"), details: told.querySelector("details") };
const close = told.querySelector("button");
let changed = false;

export async function call(method, address, content) {
  const answer = await fetch(address, {
    method,
    headers: { "X-XSRFToken": csrf, ...(content === undefined ? {} : { "Content-Type": "application/json" }) },
    body: content === undefined ? undefined : JSON.stringify(content),
  });
  const text = await answer.text();
  let found = {};
  try { found = JSON.parse(text); } catch { /* a page instead of an answer: the status says enough */ }
  return { ok: answer.ok, status: answer.status, found };
}

function tell(title, text, log, ends) {
  parts.title.textContent = title;
  parts.title.classList.toggle("busy", !ends);
  parts.text.textContent = text;
  parts.text.hidden = !text;
  parts.details.hidden = !log;
  parts.details.querySelector("pre").textContent = log;
  close.hidden = !ends;
  if (!told.open) told.showModal();
  if (ends) close.focus();
}

async function run(button, calls) {
  const goesOn = "goesOn" in button.dataset, logs = [];
  let failed = 0, silent = false, refused = "";
  changed = true;
  for (const [index, [method, address, content]] of calls.entries()) {
    tell(told.dataset.busy, goesOn && calls.length > 1 ? `${index + 1} / ${calls.length}` : "", "", false);
    try {
      const { ok, status, found } = await call(method, address, content);
      if (found.log) logs.push(found.log);
      if (found.said) refused = found.said;
      if (found.error) logs.push(found.error);
      if (!ok && !refused) logs.push(`HTTP ${status}`);
      if (!ok || !found.success) failed += 1;
    } catch (error) {
      logs.push(String(error));
      failed += 1;
      silent = true;
    }
    if (failed && !goesOn) break;
  }
  const title = failed ? told.dataset.badly : told.dataset.well;
  const count = goesOn && calls.length > 1 ? `${told.dataset.failed} ${failed} / ${calls.length}` : "";
  const text = silent ? told.dataset.silent : refused ? refused : failed ? count || told.dataset.why : button.dataset.said;
  tell(title, text, logs.join("\n"), true);
  parts.details.open = Boolean(failed) && !silent && !refused;
}

for (const button of document.querySelectorAll("[data-post]")) {
  button.addEventListener("click", () => {
    if (button.dataset.ask && !window.confirm(button.dataset.ask)) return;
    run(button, button.dataset.post.trim().split(/\s+/).map((address) => ["POST", address]));
  });
}
for (const button of document.querySelectorAll("[data-begin]")) {
  button.addEventListener("click", async () => {
    const { ask, begin, method = "POST", then, stale } = button.dataset;
    if (ask && !window.confirm(ask)) return;
    button.disabled = true;
    const { ok, status, found } = await call(method, begin).catch(() => ({ ok: false, status: 0, found: {} }));
    if (ok) return then ? location.assign(then) : location.reload();
    changed = true;
    const why = status === 409 && stale ? stale : told.dataset.why;
    tell(told.dataset.badly, status ? why : told.dataset.silent, found.error ?? (status ? `HTTP ${status}` : ""), true);
  });
}
// A run over everybody's work: how far it is, until it has ended and the page is drawn anew.
for (const section of document.querySelectorAll("[data-run]")) {
  const status = section.querySelector("[role=status]"), bar = section.querySelector("progress");
  section.querySelector("[data-stop]")?.addEventListener("click", (event) => {
    event.target.disabled = true;
    call("DELETE", section.dataset.run);
  });
  const look = async () => {
    const { ok, found } = await call("GET", section.dataset.run).catch(() => ({ ok: false, found: {} }));
    if (ok && !found.running) return section.dataset.then ? location.assign(section.dataset.then) : location.reload();
    if (ok) {
      bar.max = found.total;
      bar.value = found.done;
      const { preparing, graded } = section.dataset;
      status.textContent = found.stage === "preparing" ? preparing : `${found.done} / ${found.total} ${graded}`;
    }
    setTimeout(look, 1000);
  };
  look();
}
for (const form of document.querySelectorAll("[data-deadline]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { due, attempts } = form.elements;
    run(form, [["POST", form.dataset.deadline, { due: due.value, ...(attempts ? { attempts: attempts.value } : {}) }]]);
  });
}
// Rules for handing in: a form's fields as they are; for one student, the address says for whom.
const fields = (form) => Object.fromEntries(new FormData(form));
for (const form of document.querySelectorAll("[data-send]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(form, [["POST", form.dataset.send, fields(form)]]);
  });
}
for (const form of document.querySelectorAll("[data-extend]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { student, ...rest } = fields(form);
    run(form, [["POST", `${form.dataset.extend}/${encodeURIComponent(student)}/extension`, rest]]);
  });
}
for (const button of document.querySelectorAll("[data-delete], [data-post-json]")) {
  button.addEventListener("click", () => {
    if (button.dataset.ask && !window.confirm(button.dataset.ask)) return;
    const { delete: gone, postJson } = button.dataset;
    run(button, [gone ? ["DELETE", gone] : ["POST", postJson, {}]]);
  });
}
close.addEventListener("click", () => told.close());
told.addEventListener("cancel", (event) => { if (close.hidden) event.preventDefault(); });
told.addEventListener("close", () => { if (changed) location.reload(); });
