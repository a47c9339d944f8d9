"""The choice of a profile before a start, as the form that JupyterHub puts into its spawn page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, FileSystemLoader

from portal.assets import TEMPLATES
from portal.language import PageLanguage


@dataclass(frozen=True)
class ProfileChoice:
    """One profile that this person may choose, with its texts in the person's language.

    Args:
        id: value of the form field `profile`.
        title: name of the profile.
        cpus: processor cores.
        memory: such as `4G`.
        gpu: words for the GPU share, such as `1/8 GPU`; empty for none.
        time: longest run, such as `4h`.
    """

    id: str
    title: str
    cpus: int
    memory: str
    gpu: str
    time: str


def profile_form(choices: Sequence[ProfileChoice], chosen: str = "") -> str:
    """HTML of the choice, for `Spawner.options_form`; empty when there is nothing to choose.

    Args:
        choices: the profiles, the preferred one first.
        chosen: id of the profile that is marked at first; the first one when not given.
    """
    if len(choices) < 2:
        return ""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, extensions=[PageLanguage])
    return environment.get_template("profiles.html").render(choices=choices, chosen=chosen or choices[0].id)
