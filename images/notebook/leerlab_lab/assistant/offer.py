"""What the site told this lab at its start about the assistant: on or off, why, and in which language to say it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

ADDRESS = "http://127.0.0.1:8083/v1"


@dataclass(frozen=True)
class Offer:
    """What holds for this lab.

    Args:
        on: whether there is a way to the gateway.
        models: ids that may be asked; the first is the one meant when none is named.
        tokens_per_hour: how many tokens each hour may take; None where nothing was said.
        because: titles of what switches the assistant off, by language.
        address: the gateway's, without a slash at its end.
    """

    on: bool = False
    models: tuple[str, ...] = ()
    tokens_per_hour: int | None = None
    because: dict[str, str] = field(default_factory=dict)
    address: str = ADDRESS

    @classmethod
    def of_this_lab(cls) -> Offer:
        """From `LEERLAB_ASSISTANT`, which the site sets; without it the assistant is off.

        It says what to show, and decides nothing: the way to the gateway is there or not, and the gateway asks the hub.
        """
        told = json.loads(os.environ.get("LEERLAB_ASSISTANT") or "{}")
        return cls(
            on=bool(told.get("on")),
            models=tuple(told.get("models", ())),
            tokens_per_hour=told.get("tokens_per_hour"),
            because=dict(told.get("because", {})),
            address=told.get("address", ADDRESS),
        )


def language() -> str:
    """The lab's language, `nl` or `en`: the one in which the person opened it."""
    return "en" if os.environ.get("LEERLAB_LANGUAGE") == "en" else "nl"
