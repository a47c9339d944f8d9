"""jupyterhub_config.py of the stock peer with light servers: `stock_hub_config.py` with another program inside.

The first letter of a server's name is its partition: `r` where it runs at once, `q` where it waits.
"""

import os
from pathlib import Path

from traitlets.config import Config

c: Config = get_config()  # type: ignore[name-defined]  # noqa: F821  given by traitlets
# A path of its own, or traitlets looks in the working folder, and goes on without a word when nothing is there.
load_subconfig("stock_hub_config.py", path=str(Path(__file__).parent))  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.concurrent_spawn_limit = 0
c.Authenticator.allowed_users = {os.environ["BENCH_USER"]}
c.MultiSlurmSpawner.daemon_resolver = {"room": "127.0.0.1", "small": "127.0.0.1"}
c.Spawner.cmd = [os.environ["BENCH_LIGHT_SERVER"]]
c.Spawner.args = []
# A start that waits in Slurm's queue longer than this is given up by JupyterHub: no side may lose its queue meanwhile.
c.Spawner.start_timeout = 24 * 3600
partitions = {"r": "room", "q": "queue"}


def as_the_name_says(spawner):  # type: ignore[no-untyped-def]
    """Where it runs, and how often BatchSpawner asks while it starts."""
    spawner.startup_poll_interval = float(os.environ["BENCH_POLL"])
    spawner.req_partition = partitions[spawner.name[0]]
    spawner.req_srun = ""


c.Spawner.pre_spawn_hook = as_the_name_says
