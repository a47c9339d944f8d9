"""The bound of a start: what the server itself and an empty Slurm job take when nothing is in their way."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from base.ports import free_ports
from bench.errors import BenchmarkFailed
from bench.http import wait_for_server
from bench.site import CPUS, MEMORY, MINUTES, PARTITION

JOB_SECONDS = 60.0
_END_SECONDS = 15.0
_SERVICE_PREFIX = "/user/bench/"


@dataclass(frozen=True)
class BareServer:
    """The program that every side starts, started by nobody: no Slurm, no spawner, no wall, no proxy.

    Args:
        notebook_env: its environment.
        environment: the product's lab environment, with paths outside the wall.
        folder: its home and its log.
        hub_api: a JupyterHub API; the program asks it for the hub's version and waits for the answer.
        token: a token of that hub.
    """

    notebook_env: Path
    environment: Mapping[str, str]
    folder: Path
    hub_api: str
    token: str

    def measure(self) -> float:
        """Start it once, and end it.

        Returns:
            Seconds from the start of its process to HTTP 200 of its `api` on its own port.

        Raises:
            BenchmarkFailed: it does not answer in time.
        """
        port = free_ports(1)[0]
        address = f"http://127.0.0.1:{port}{_SERVICE_PREFIX}"
        environment = {
            **self.environment,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "JUPYTERHUB_API_TOKEN": self.token,
            "JUPYTERHUB_API_URL": self.hub_api,
            "JUPYTERHUB_ACTIVITY_URL": f"{self.hub_api}/users/bench/activity",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-bench",
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{_SERVICE_PREFIX}oauth_callback",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": "[]",
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": _SERVICE_PREFIX,
            "JUPYTERHUB_SERVICE_URL": address,
            "JUPYTERHUB_USER": "bench",
        }
        log = self.folder / "server.log"
        begin = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self.notebook_env / "bin/python"), "-m", "jupyterhub.singleuser"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            with httpx.Client(timeout=_END_SECONDS, trust_env=False) as client:
                return wait_for_server(
                    client,
                    f"{address}api",
                    {},
                    begin=begin,
                    failed=lambda what: BenchmarkFailed(f"The bare server: {what}.", do=f"Its log: {log}"),
                    lives=lambda: process.poll() is None,
                )
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_END_SECONDS)


@dataclass(frozen=True)
class EmptyJob:
    """A Slurm job that says that it runs, and ends.

    Args:
        slurm_conf: of the Slurm that all sides use.
        folder: where the job writes.
    """

    slurm_conf: Path
    folder: Path

    def measure(self) -> float:
        """Run it once.

        Returns:
            Seconds from the start of `sbatch` to the first line of the job's script.

        Raises:
            BenchmarkFailed: Slurm does not take it, or it does not run in time.
        """
        pipe = self.folder / "job-runs"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe, 0o600)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            begin = time.monotonic()
            result = subprocess.run(
                [
                    "/usr/bin/sbatch",
                    *("--parsable", "--nodes=1", "--ntasks=1", "--export=ALL", "--output=/dev/null"),
                    *(f"--partition={PARTITION}", f"--cpus-per-task={CPUS}", f"--mem={MEMORY}", f"--time={MINUTES}"),
                    f"--chdir={self.folder}",
                ],
                input=b"#!/bin/sh\necho runs > job-runs\n",
                env={"PATH": "/usr/bin:/bin", "SLURM_CONF": str(self.slurm_conf)},
                capture_output=True,
                timeout=JOB_SECONDS,
                check=False,
            )
            if result.returncode:
                raise BenchmarkFailed(f"Slurm does not take an empty job: {result.stderr.decode(errors='replace')}")
            if not select.select([reader], [], [], JOB_SECONDS)[0]:
                raise BenchmarkFailed(f"An empty job does not run within {JOB_SECONDS:.0f} s.")
            return time.monotonic() - begin
        finally:
            os.close(reader)


def wait_until_idle(slurm_conf: Path) -> None:
    """Wait until Slurm has no job left, so that none takes time from the next measurement.

    Raises:
        BenchmarkFailed: a job does not end.
    """
    until = time.monotonic() + JOB_SECONDS
    while time.monotonic() < until:
        result = subprocess.run(
            ["/usr/bin/squeue", "--noheader"],
            env={"PATH": "/usr/bin:/bin", "SLURM_CONF": str(slurm_conf)},
            capture_output=True,
            timeout=JOB_SECONDS,
            check=False,
        )
        if result.returncode == 0 and not result.stdout.strip():
            return
        time.sleep(0.2)
    raise BenchmarkFailed("A job of the benchmark does not end.", do="squeue names it.")
