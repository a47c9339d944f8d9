// The one-time key comes in the address's fragment: take it out of the address and the history, then give it by POST.
const fragment = new URLSearchParams(location.hash.slice(1));
const key = fragment.get("key");
if (key) {
  history.replaceState(null, "", location.pathname + location.search);
  const form = document.getElementById("key-form");
  if (form) {
    form.elements.key.value = key;
    form.requestSubmit();
  }
}
