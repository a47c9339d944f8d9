// Keeps a page's marked regions up to date, from a stream of regions that the server has rendered and escaped.
const main = document.getElementById("main");
const notice = document.getElementById("unreachable");
const FIRST_WAIT = 3000;
const LONGEST_WAIT = 30000;
let wait = FIRST_WAIT;

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

function listen() {
  const stream = new EventSource(main.dataset.live);
  stream.addEventListener("region", (event) => {
    const { region, html } = JSON.parse(event.data);
    put(region, html);
  });
  stream.addEventListener("here", () => {
    notice.hidden = true;
    wait = FIRST_WAIT;
  });
  stream.addEventListener("leave", () => {
    stream.close();
    location.reload();
  });
  stream.onerror = () => {
    notice.hidden = false;
    if (stream.readyState !== EventSource.CLOSED) return;
    // The server refused: it may not know this browser any more. A fresh page logs in again by itself.
    setTimeout(async () => {
      wait = Math.min(wait * 2, LONGEST_WAIT);
      try {
        const answer = await fetch("/status", { cache: "no-store" });
        if (answer.ok) return location.reload();
      } catch {
        // Still gone; the next try is later.
      }
      listen();
    }, wait);
  };
  window.addEventListener("pagehide", () => stream.close(), { once: true });
}

if (main?.dataset.live) listen();
