"""A student's running notebook on the demo site, in which a test runs code as that student would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
# Milliseconds, as in the journeys: a lab took 58 s to start on a busy machine.
START = 240_000
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Jupyter's kernel protocol (jupyter_client, messaging 5.4) from a page of the person's own server.
RUN_CELL = """
async ([base, code]) => {
  const xsrf = (document.cookie.match(/_xsrf=([^;]+)/) || [])[1] || "";
  if (!window.attackKernel) {
    const answer = await fetch(base + "api/kernels", {method: "POST", body: "{}",
      headers: {"X-XSRFToken": decodeURIComponent(xsrf), "Content-Type": "application/json"}});
    if (!answer.ok) throw new Error("no kernel: " + answer.status + " " + await answer.text());
    window.attackKernel = await answer.json();
  }
  const kernel = window.attackKernel;
  const id = "attack-" + Math.random().toString(36).slice(2);
  const server = (location.origin + base).replace(/^http/, "ws");
  const url = server + "api/kernels/" + kernel.id + "/channels?session_id=test";
  const said = await new Promise((done, failed) => {
    const socket = new WebSocket(url);
    let text = "";
    const timer = setTimeout(() => failed(new Error("the cell did not end: " + text)), 120000);
    socket.onerror = () => failed(new Error("no channel"));
    socket.onopen = () => socket.send(JSON.stringify({channel: "shell", parent_header: {}, metadata: {}, buffers: [],
      header: {msg_id: id, username: "", session: "test", msg_type: "execute_request", version: "5.4"},
      content: {code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false}}));
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if ((message.parent_header || {}).msg_id !== id) return;
      if (message.msg_type === "stream") text += message.content.text;
      if (message.msg_type === "error") text += message.content.ename + ": " + message.content.evalue;
      if (message.msg_type === "status" && message.content.execution_state === "idle") {
        clearTimeout(timer); socket.close(); done(text);
      }
    };
  });
  return said;
}
"""


@dataclass
class Notebook:
    """One person's running server.

    Args:
        page: a page on the server's own origin.
        name: the person's user name.
    """

    page: Page
    name: str

    def run(self, code: str) -> Any:
        """Run code in the person's kernel and read the JSON that it prints."""
        said = self.page.evaluate(RUN_CELL, [f"/user/{self.name}/", code])
        try:
            return json.loads(said)
        except ValueError:
            raise AssertionError(f"the cell printed no JSON: {said!r}") from None


# Not for the session: while Playwright is open its event loop runs in this thread, and async tests cannot.
@pytest.fixture(scope="module")
def notebooks(running_site: Any) -> Iterator[dict[str, Notebook]]:
    """The servers of two students, each in a browser profile of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        found = {}
        for name, title in (("sanne", "Sanne"), ("jelmer", "Jelmer")):
            page = browser.new_context(locale="nl-NL").new_page()
            page.context.set_default_timeout(START)
            page.goto(running_site.login_link())
            page.get_by_role("button", name=title).click()
            page.get_by_role("link", name="Starten").or_(page.get_by_role("link", name="Ga verder")).first.click()
            page.wait_for_url(f"**/user/{name}/lab**")
            found[name] = Notebook(page, name)
        yield found
        browser.close()
