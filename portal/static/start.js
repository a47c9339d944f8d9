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

// The kinds of reason for which no time is worked out, because they take seconds.
const SHORT = ["start.waiting.scheduling", "start.waiting.preparing"];

// When it starts, and how sure that is (spawners/estimates.py): between two times, at the latest, or not known.
function estimate(code, params) {
  const box = document.getElementById("fact-estimate");
  const at = (seconds) => {
    const moment = new Date(Date.now() + seconds * 1000);
    const today = moment.toDateString() === new Date().toDateString();
    const style = { hour: "2-digit", minute: "2-digit", ...(today ? {} : { weekday: "long" }) };
    return new Intl.DateTimeFormat(language, style).format(moment);
  };
  let kind = "";
  if (params.starts_from !== undefined) kind = "between";
  else if (params.starts_in !== undefined) kind = "latest";
  else if (code.startsWith("start.waiting.") && !SHORT.includes(code)) kind = "unknown";
  const text = kind && box.dataset[kind]
    .replace("{from}", () => at(params.starts_from)).replace("{until}", () => at(params.starts_in));
  fact("estimate", text);
  for (const each of ["between", "latest", "unknown"]) document.getElementById("why-" + each).hidden = each !== kind;
}

// waited, position, starts_in, starts_from: see spawners/waiting.py. Durations are whole seconds.
function facts(code, params) {
  if (params.waited !== undefined) asked = Date.now() - params.waited * 1000;
  clock();
  fact("position", params.position === undefined ? "" : String(params.position));
  estimate(code, params);
}

// Choices that could start now. Drawn anew only when they have changed, so that a button keeps the focus.
const choices = document.getElementById("offers");
let drawn = null;
function offers(found) {
  const wanted = JSON.stringify(found);
  if (wanted === drawn) return;
  drawn = wanted;
  choices.querySelector("ul").replaceChildren(...found.map((offer) => {
    const button = document.createElement("button");
    button.className = "button secondary";
    button.name = "profile";
    button.value = offer.profile;
    button.setAttribute("aria-describedby", "offers-help");
    const title = offer.title[document.documentElement.lang] ?? offer.title.en;
    button.textContent = choices.dataset.text.replace("{title}", () => title);
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  choices.hidden = !found.length;
}

// A start that waits is told of every 5 seconds. When the hub dies, the proxy keeps the stream open without a word.
const SILENCE = 25000;
let heard = Date.now();
function clock() {
  const waited = Math.round((Date.now() - asked) / 1000);
  fact("waited", waited < 2 ? "" : duration(waited));
  if (Date.now() - heard > SILENCE) reload();
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
  heard = Date.now();
  const event = JSON.parse(message.data);
  // JupyterHub's own first event says nothing that the page does not say already.
  if (event.code) {
    step(event.code);
    facts(event.code, event.params ?? {});
    offers(event.offers ?? []);
    show(event);
  }
  if ((event.ready || event.failed) && !leaving) {
    stream.close();
    clearInterval(tick);
    // The page itself knows where to go next: to the workplace, or to the reason of the failure.
    location.reload();
  }
};
// The page itself knows how it goes on. While the hub restarts there is none to load: this one says so and waits.
let reloading = false;
async function reload() {
  if (reloading) return;
  reloading = true;
  stream.close();
  for (;;) {
    await new Promise((done) => setTimeout(done, 3000));
    if (leaving) return;
    try {
      if ((await fetch(location.href, { credentials: "same-origin", cache: "no-store" })).status !== 503) break;
    } catch {
      // Nobody answers.
    }
    now.textContent = now.dataset.away;
    choices.hidden = true;
  }
  location.reload();
}
stream.onerror = () => {
  // A stream that the browser will not open again: the start ended, or the hub restarts.
  if (stream.readyState === EventSource.CLOSED && !leaving) reload();
};
