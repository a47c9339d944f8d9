"""What a lab is told about the assistant at its start: the chat where it is on, one sentence where it is off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grading.plans import LAB

ASSISTANT_PORT = 8083


@dataclass(frozen=True)
class Offer:
    """What holds for one server at its start; the gateway decides each question anew.

    Args:
        models: ids that may be asked, the usual one first; none means off.
        tokens_per_hour: how many tokens each hour may take.
        because: titles of the courses or the sandbox that switch it off, by language.
    """

    models: tuple[str, ...] = ()
    tokens_per_hour: int | None = None
    because: Mapping[str, str] = field(default_factory=dict)


def with_assistant(environment: Mapping[str, str], offer: Offer) -> dict[str, str]:
    """A lab's environment with what it must know about the assistant.

    Args:
        environment: as `grading.plans.lab_environment` gives it.
        offer: what the policy says of this server.
    """
    told: dict[str, Any] = {"on": False, "because": dict(offer.because)}
    if not offer.models:
        return {**environment, "LEERLAB_ASSISTANT": json.dumps(told)}
    told = {
        "on": True,
        "models": list(offer.models),
        "tokens_per_hour": offer.tokens_per_hour,
        "address": f"http://127.0.0.1:{ASSISTANT_PORT}/v1",
    }
    return {
        **environment,
        "LEERLAB_ASSISTANT": json.dumps(told),
        # Before the others: Jupyter takes the first folder that says something.
        "JUPYTER_CONFIG_PATH": f"{LAB}/config/assistant:{environment['JUPYTER_CONFIG_PATH']}",
    }
