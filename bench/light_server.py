"""A server as light as can be, in a lab's place: asks the hub for its version as labs do, then answers every path.

Run by every side of a benchmark with the system's own Python; standard library only.
"""

import http.server
import json
import os
import urllib.request
from urllib.parse import urlparse


class Answer(http.server.BaseHTTPRequestHandler):
    """200 to everything, with a Jupyter server's word."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        body = json.dumps({"version": "light"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-JupyterHub-Version", os.environ.get("BENCH_HUB_VERSION", ""))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve for ever, on the port of $JUPYTERHUB_SERVICE_URL."""
    urllib.request.urlopen(os.environ["JUPYTERHUB_API_URL"] + "/", timeout=60).read()  # noqa: S310  http only
    port = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"]).port
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port or 0)), Answer).serve_forever()


if __name__ == "__main__":
    main()
