"""jupyterhub_config.py of the peer in `bench.stock_hub`: stock JupyterHub, stock BatchSpawner, nothing of Leerlab.

What makes it as fast as its options allow: one account, so no sudo; a short poll; no login shell in the job
(`--get-user-env`); no text beyond the command in the job script; requests for a server answered at once.
"""

import os
from pathlib import Path

from traitlets.config import Config

c: Config = get_config()  # type: ignore[name-defined]  # noqa: F821  given by traitlets
folder = Path(os.environ["BENCH_FOLDER"])
notebook = os.environ["BENCH_NOTEBOOK"]
cpus, memory, minutes = os.environ["BENCH_REQUEST"].split()
variants = {
    name: (float(poll), "srun" if int(srun) else "")
    for name, poll, srun in (line.split() for line in os.environ["BENCH_VARIANTS"].splitlines())
}

c.JupyterHub.bind_url = os.environ["BENCH_ADDRESS"]
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = int(os.environ["BENCH_HUB_PORT"])
c.JupyterHub.db_url = f"sqlite:///{folder / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(folder / "cookie-secret")
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.ConfigurableHTTPProxy.command = os.environ["BENCH_PROXY"].splitlines()
c.ConfigurableHTTPProxy.api_url = os.environ["BENCH_PROXY_API"]
c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")

c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {os.environ["BENCH_USER"]}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["BENCH_TOKEN"]}]
c.JupyterHub.load_roles = [{"name": "bench", "scopes": ["admin:users", "admin:servers"], "services": ["bench"]}]

# MultiSlurmSpawner is SlurmSpawner with names of nodes that need not resolve.
c.JupyterHub.spawner_class = "batchspawner.MultiSlurmSpawner"
c.MultiSlurmSpawner.daemon_resolver = {os.environ["BENCH_NODE"]: "127.0.0.1"}
c.BatchSpawnerBase.exec_prefix = ""
c.BatchSpawnerBase.req_partition = os.environ["BENCH_PARTITION"]
c.BatchSpawnerBase.req_nprocs = cpus
c.BatchSpawnerBase.req_memory = memory
c.BatchSpawnerBase.req_runtime = minutes
c.BatchSpawnerBase.batchspawner_singleuser_cmd = f"{notebook}/bin/python -m batchspawner.singleuser"
c.BatchSpawnerBase.batch_script = """#!/bin/sh
#SBATCH --output=HOME_FOLDER/server-%j.log
#SBATCH --job-name=stock
#SBATCH --chdir=HOME_FOLDER
#SBATCH --export={{keepvars}}
#SBATCH --partition={{partition}}
#SBATCH --time={{runtime}}
#SBATCH --mem={{memory}}
#SBATCH --cpus-per-task={{nprocs}}
export HOME=HOME_FOLDER
exec {% if srun %}{{srun}} {% endif %}{{cmd}}
""".replace("HOME_FOLDER", str(folder / "home"))
c.Spawner.cmd = [f"{notebook}/bin/jupyterhub-singleuser"]
# Its default listens on every address of the machine.
c.Spawner.args = ["--ServerApp.ip=127.0.0.1"]
c.Spawner.env_keep = ["SLURM_CONF"]
c.Spawner.environment = dict(line.split("=", 1) for line in os.environ["BENCH_LAB"].splitlines())


def as_the_name_says(spawner):  # type: ignore[no-untyped-def]
    """Each server's name is a way of setting BatchSpawner."""
    spawner.startup_poll_interval, spawner.req_srun = variants[spawner.name]


c.Spawner.pre_spawn_hook = as_the_name_says
