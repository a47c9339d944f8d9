"""What was chosen, kept in the kit's folder between the three notebooks; and what the sandbox says of itself."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

CHOICE = "keuze.json"
LARGEST = 2**20
SANDBOX_FILE = ".leerlab-sandbox.json"
RISKS = ("unknown", "minimal", "limited", "high", "prohibited")
_RISK_WORDS = {"unacceptable": "prohibited", "forbidden": "prohibited", "low": "minimal"}


@dataclass(frozen=True)
class Choice:
    """What a person chose.

    Args:
        file: path of the own CSV; empty: the example.
        time, value, day_first, decimal: as `reading.Options`.
        threshold: chosen with the slider; None: the suggestion.
        risk: one of `RISKS`, for a sandbox that does not say it.
    """

    file: str = ""
    time: str | None = None
    value: str | None = None
    day_first: bool | None = None
    decimal: str | None = None
    threshold: float | None = None
    risk: str = "unknown"


@dataclass(frozen=True)
class SandboxInfo:
    """What the sandbox's own request says: title (somebody else's text) and one of `RISKS`."""

    title: str
    risk: str


def load(folder: Path) -> Choice:
    """The last choice; the first one where there is none or it is damaged."""
    kept = _object(folder / CHOICE)
    choice = Choice()
    for name, kinds in {
        "file": (str,),
        "time": (str,),
        "value": (str,),
        "day_first": (bool,),
        "decimal": (str,),
        "threshold": (float, int),
    }.items():
        if isinstance(kept.get(name), kinds):
            choice = replace(choice, **{name: kept[name]})
    return replace(choice, risk=kept["risk"]) if kept.get("risk") in RISKS else choice


def save(folder: Path, choice: Choice) -> None:
    """Keep a choice."""
    write(folder / CHOICE, json.dumps(asdict(choice), indent=1))


def sandbox_info(sandbox: Path) -> SandboxInfo | None:
    """What the sandbox says of itself; None where it says nothing.

    Args:
        sandbox: the sandbox's shared folder.
    """
    found = _object(sandbox / SANDBOX_FILE)
    title, risk = found.get("title"), found.get("risk_class")
    if not isinstance(title, str) or not isinstance(risk, str):
        return None
    risk = risk.lower().removesuffix("_risk").removesuffix("-risk")
    risk = _RISK_WORDS.get(risk, risk)
    return SandboxInfo(title[:200], risk if risk in RISKS else "unknown")


def write(file: Path, words: str) -> None:
    """Write a file whole or not at all."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(words, encoding="utf-8")
    fresh.replace(file)


def _object(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST:
            return {}
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
