"""The wall of a local model's job: its weights and its program, read-only, one port, and no way out."""

from __future__ import annotations

from pathlib import Path

from base.paths import Installation, State
from catalogue.card import ModelCard
from confinement.settings import ConfinementSettings
from confinement.wall import PATH, Bind, Wall

ENVIRONMENT, PROGRAM, WEIGHTS = Path("/opt/assistant"), Path("/opt/model"), Path("/opt/weights")
PORT = 8888
HEALTH = "/health"
"""Path that answers 200 once the model can be asked (llama.cpp, tools/server/README.md); it needs no key."""


def model_wall(
    card: ModelCard, key: str, home: Path, *, cpus: int, at_once: int, state: State, installation: Installation,
    confinement: ConfinementSettings,
) -> Wall:  # fmt: skip
    """The wall.

    Args:
        card: of the model; its first file is what is loaded.
        key: what whoever asks the model must send.
        home: an empty folder.
        cpus: processor cores of the job.
        at_once: questions answered at the same time.
    """
    weights = state.catalogue / card.id / card.version
    return Wall(
        command=(f"{ENVIRONMENT}/bin/python", f"{PROGRAM}/server.py"),
        home=home,
        seccomp=state.generated / "seccomp.bpf",
        binds=(
            Bind(installation.assistant_env, ENVIRONMENT),
            Bind(installation.code / "assistant" / "model", PROGRAM),
            Bind(weights, WEIGHTS),
        ),
        publish=PORT,
        environment={
            "PATH": PATH,
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(cpus),
            "MODEL_DOES": card.does,
            "MODEL_FILE": str(WEIGHTS / card.files[0].name),
            "MODEL_CONTEXT": str(card.context),
            "MODEL_AT_ONCE": str(at_once),
            "MODEL_PORT": str(PORT),
            "MODEL_KEY": key,
        },
        **confinement.sizes(),
    )
