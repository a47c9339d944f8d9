"""Start the portal: `python -m portal`, with `$LEERLAB_PORTAL` naming its configuration."""

from __future__ import annotations

import logging
import sys
import tempfile

import uvicorn

from base.errors import LeerlabError
from base.log import configure
from portal.assembly import portal
from portal.configuration import PortalConfiguration
from portal.language import show_times_of

LISTEN = "127.0.0.1"
KEEP_ALIVE_SECONDS = 30
# Pages that are open keep a stream; they connect again by themselves.
STOP_SECONDS = 2


def main() -> int:
    """Serve until SIGTERM."""
    log = configure("portal")
    # It tells of every request to the hub, several a second while pages are open.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        configuration = PortalConfiguration.current()
        show_times_of(configuration.site.time_zone)
        # What is uploaded waits there until it is in quarantine: in files without a name, below the private folder.
        uploads = configuration.folders.run / "uploads"
        uploads.mkdir(mode=0o700, exist_ok=True)
        tempfile.tempdir = str(uploads)
        app = portal(configuration)
    except (LeerlabError, OSError) as error:
        log.error("%s", error)
        return 2
    uvicorn.run(
        app,
        host=LISTEN,
        port=configuration.listen,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
