// The one-time key comes in the address's fragment: take it out of the address and the history, then give it by POST.
function giveKey() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return;
  history.replaceState(null, "", location.pathname + location.search);
  const form = document.getElementById("key-form");
  if (!form) return;
  form.elements.key.value = key;
  form.requestSubmit();
}

giveKey();
// The link may be opened in a tab that shows this page already.
addEventListener("hashchange", giveKey);
