"""A browser without a window: goes to the site's own names, which need not resolve, where the site listens."""

from __future__ import annotations

import re

import httpx

from hub_config.settings import HubSettings
from hub_config.site import Site

SECONDS = 10.0
_TOKEN = re.compile(r'name="_xsrf" value="([^"]+)"')


class _AtAddress(httpx.BaseTransport):
    """Connects to one address whatever the name; Host and cookies keep the name.

    Of a site behind a TLS proxy it does what that proxy does; `leerlab doctor` looks at the proxy itself.
    """

    def __init__(self, hub: HubSettings) -> None:
        self._hub = hub
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url, headers = request.url.copy_with(host=str(self._hub.bind)), request.headers
        if self._hub.https:
            url = url.copy_with(scheme="http", port=self._hub.port)
            headers = httpx.Headers({**headers, "X-Forwarded-Proto": "https"})
        return self._inner.handle_request(
            httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)
        )

    def close(self) -> None:
        self._inner.close()


class Browser(httpx.Client):
    """Keeps cookies and sends forms with the token of the page that they are on.

    Args:
        site: whose pages.
        seconds: longest wait for one answer.
    """

    def __init__(self, site: Site, seconds: float = SECONDS) -> None:
        super().__init__(base_url=site.hub.address, transport=_AtAddress(site.hub), timeout=seconds, trust_env=False)

    def submit(self, page: str, to: str, **fields: str) -> httpx.Response:
        """Open a page, then send its form.

        Args:
            page: path of the page with the form.
            to: path that the form goes to.
            fields: what a person fills in.
        """
        return self.post(to, data={**fields, "_xsrf": self.token(page)})

    def token(self, page: str) -> str:
        """What a form or script of this page proves itself with; empty when the page has none."""
        found = _TOKEN.search(self.get(page).text)
        return found[1] if found else ""
