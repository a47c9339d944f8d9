// Keeps a page's marked regions up to date, from a stream of regions that the server has rendered and escaped.
const main = document.getElementById("main");
const notice = document.getElementById("unreachable");
const FIRST_WAIT = 3000;
const LONGEST_WAIT = 30000;
// The server says every few seconds that it is there; a look that nobody answers takes ten.
const SILENCE = 20000;
// A person who has clicked is on the way to another page for at most so long.
const ON_THE_WAY = 10000;
let wait = FIRST_WAIT;
let clicked = 0;

// What has the focus is found again by its address or its form, so that a keyboard's place is not lost.
function place(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  if (element.matches("a[href]")) return `a[href="${CSS.escape(element.getAttribute("href"))}"]`;
  const form = element.closest("form[action]");
  return form ? `form[action="${CSS.escape(form.getAttribute("action"))}"] button` : "";
}

function put(region, html) {
  const old = document.querySelector(`[data-region="${CSS.escape(region)}"]`);
  // Nothing is taken from under somebody who is filling it in.
  if (!old || old.querySelector("input:not([type=hidden]):focus, textarea:focus, select:focus")) return;
  const focused = old.contains(document.activeElement) ? place(document.activeElement) : "";
  old.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
  if (focused) old.querySelector(focused)?.focus();
}

// A fresh page logs in again by itself, once the portal answers.
function lost(stream) {
  stream.close();
  notice.hidden = false;
  setTimeout(async () => {
    wait = Math.min(wait * 2, LONGEST_WAIT);
    try {
      const answer = await fetch("/status", { cache: "no-store" });
      if (answer.ok) return location.reload();
    } catch {
      // Still gone; the next try is later.
    }
    lost(stream);
  }, wait);
}

function listen() {
  const stream = new EventSource(main.dataset.live);
  let heard = Date.now();
  // A proxy may keep a connection open whose other end is gone.
  const watchdog = setInterval(() => {
    if (Date.now() - heard < SILENCE) return;
    clearInterval(watchdog);
    lost(stream);
  }, SILENCE / 5);
  stream.addEventListener("region", (event) => {
    const { region, html } = JSON.parse(event.data);
    put(region, html);
  });
  stream.addEventListener("here", () => {
    heard = Date.now();
    notice.hidden = true;
  });
  stream.addEventListener("leave", () => {
    stream.close();
    // Whoever is on the way to another page, through a login that ended this page's session, gets there.
    setTimeout(() => location.reload(), Date.now() - clicked < ON_THE_WAY ? ON_THE_WAY : 0);
  });
  stream.onerror = () => {
    notice.hidden = false;
    if (stream.readyState !== EventSource.CLOSED) return;
    clearInterval(watchdog);
    lost(stream);
  };
  window.addEventListener("beforeunload", () => {
    clicked = Date.now();
  });
  window.addEventListener("pagehide", () => stream.close(), { once: true });
}

if (main?.dataset.live) listen();
