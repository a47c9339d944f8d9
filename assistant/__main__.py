"""Start the gateway: `python -m assistant`, with `$LEERLAB_ASSISTANT_GATEWAY` naming its configuration."""

from __future__ import annotations

import sys

import uvicorn

from assistant.assembly import assistant_gateway
from assistant.configuration import SOCKET, GatewayConfiguration
from base.errors import LeerlabError
from base.log import configure
from base.paths import Installation
from cluster.commands import Slurm
from ledger.store import Ledger

KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 5
MOST_CONNECTIONS = 2048


def main() -> int:
    """Serve until SIGTERM."""
    log = configure("assistant")
    try:
        configuration = GatewayConfiguration.current()
        app = assistant_gateway(
            configuration,
            installation=Installation.current(),
            cluster=Slurm(
                configuration.slurm_conf, commands=configuration.slurm_commands, answer=configuration.slurm_answer
            ),
            ledger=Ledger.open(configuration.ledger, configuration.ledger_key),
        )
    except (LeerlabError, OSError) as error:
        log.error("%s", error)
        return 2
    uvicorn.run(
        app,
        uds=str(configuration.folders.run / SOCKET),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
