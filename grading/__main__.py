"""Start the grading service: `python -m grading`, with `$LEERLAB_GRADING` naming its configuration."""

from __future__ import annotations

import logging
import sys

import uvicorn

from base.errors import LeerlabError
from base.log import configure
from base.paths import Installation
from cluster.commands import Slurm
from grading.configuration import ServiceConfiguration
from grading.service import grading_service
from ledger.store import Ledger

# A person's tree may take minutes to arrive; everything else is short.
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 10


def main() -> int:
    """Serve until SIGTERM."""
    log = configure("grading")
    # A line for each look at a class run would hide all others.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        configuration = ServiceConfiguration.current()
        app = grading_service(
            configuration,
            installation=Installation.current(),
            cluster=Slurm(
                configuration.slurm_conf, commands=configuration.slurm_commands, answer=configuration.slurm_answer
            ),
            record=Ledger.open(configuration.ledger, configuration.ledger_key).record,
        )
    except LeerlabError as error:
        log.error("%s", error)
        return 2
    socket = configuration.folders.run / "grading.sock"
    uvicorn.run(
        app,
        uds=str(socket),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
