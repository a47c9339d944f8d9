// Shows how far a start is, from JupyterHub's stream of progress events. Everything from the stream is put in as text.
const section = document.getElementById("start");
const texts = JSON.parse(document.getElementById("start-messages").textContent);
const now = document.getElementById("start-text");
const details = document.getElementById("start-details");
const events = document.getElementById("start-events");
// English as it is written in Europe: a 24-hour clock.
const language = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
let asked = Date.now();

function duration(seconds) {
  const steps = [["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, length] = steps.find(([, size]) => seconds >= size) ?? ["second", 1];
  const style = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
  return new Intl.NumberFormat(language, style).format(Math.round(seconds / length));
}

// The same rules as portal/language.py: a parameter that ends in "seconds" is a duration.
function fill(text, params) {
  return text.replace(/%(?:\((\w+)\)[sd]|%)/g, (whole, name) => {
    if (name === undefined) return "%";
    const value = params?.[name];
    if (value === undefined) return "…";
    return name.endsWith("seconds") ? duration(Number(value)) : String(value);
  });
}

function sentence(event) {
  return texts[event.code] ? fill(texts[event.code], event.params) : event.message;
}

function step(code) {
  const steps = [...section.querySelectorAll("[data-step]")];
  const at = steps.findIndex((item) => item.dataset.step.split(" ").some((prefix) => code.startsWith(prefix)));
  if (at < 0) return;
  steps.forEach((item, index) => {
    item.toggleAttribute("data-done", index < at);
    if (index === at) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  });
}

let last = "";
function show(event) {
  const text = sentence(event);
  if (!text || text === last) return;
  last = text;
  now.textContent = text;
  const line = document.createElement("li");
  const moment = new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(new Date());
  line.textContent = `${moment}  ${text}`;
  events.append(line);
  details.hidden = false;
}

function fact(name, text) {
  const box = document.getElementById("fact-" + name);
  box.hidden = !text;
  box.querySelector("dd").textContent = text;
}

// waited, position, starts_in: see spawners/waiting.py. Durations are whole seconds.
function facts(params) {
  if (params.waited !== undefined) asked = Date.now() - params.waited * 1000;
  clock();
  fact("position", params.position === undefined ? "" : String(params.position));
  if (params.starts_in === undefined) {
    fact("estimate", "");
  } else {
    const hours = new Intl.DateTimeFormat(language, { timeStyle: "short" });
    const at = new Date(Date.now() + params.starts_in * 1000);
    fact("estimate", `${hours.format(at)} (${duration(params.starts_in)})`);
  }
}

function clock() {
  const waited = Math.round((Date.now() - asked) / 1000);
  fact("waited", waited < 2 ? "" : duration(waited));
}
const tick = setInterval(clock, 1000);

const stream = new EventSource(section.dataset.events);
// Whoever cancels is on the way to another page: the end of the start must not load this one again.
let leaving = false;
document.addEventListener("submit", () => {
  leaving = true;
  stream.close();
});
stream.onmessage = (message) => {
  const event = JSON.parse(message.data);
  // JupyterHub's own first event says nothing that the page does not say already.
  if (event.code) {
    step(event.code);
    facts(event.params ?? {});
    show(event);
  }
  if ((event.ready || event.failed) && !leaving) {
    stream.close();
    clearInterval(tick);
    // The page itself knows where to go next: to the workplace, or to the reason of the failure.
    location.reload();
  }
};
stream.onerror = () => {
  // A stream that the browser will not open again (the start ended, or the hub restarts): ask the page.
  if (stream.readyState === EventSource.CLOSED && !leaving) setTimeout(() => location.reload(), 3000);
};
