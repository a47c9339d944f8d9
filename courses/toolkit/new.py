"""Begins a course: copies the template course, which passes every check, and gives it the folder's name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from base.errors import InputError, LeerlabError
from courses.model import Track

TEMPLATE = Path(__file__).parent / "template" / "sjabloon"
_ID = re.compile(r"^[a-z][a-z0-9-]{1,30}$")
_LEVELS = {Track.MBO: "mbo 3", Track.HBO: "hbo 2", Track.LLO: "llo"}


def new_course(folder: Path, track: Track) -> Path:
    """Make a course that is the teacher's own from then on.

    Args:
        folder: where; its name becomes the course's id.
        track: for whom.

    Returns:
        The folder.

    Raises:
        InputError: there is something already, or the name is no id.
        LeerlabError: it cannot be written.
    """
    if not _ID.match(folder.name):
        raise InputError(
            f"{folder.name} cannot be a course's name.",
            "It becomes the course's id, in addresses and folders.",
            "Use lower-case letters, digits and hyphens, such as data-in-de-zorg.",
        )
    try:
        # Made by this very call, so that nothing is overwritten, also when somebody else makes it now.
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(
            f"{folder} is there already.", "Nothing was changed.", "Choose another name, or move it away."
        ) from None
    except OSError as error:
        raise LeerlabError(
            f"{folder} cannot be made: {error.strerror}.",
            do="Choose a folder that the account running this may write to; started by root that is `leerlab`.",
        ) from error
    try:
        shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        description = folder / "course.yaml"
        text = description.read_text(encoding="utf-8")
        for old, new in (("id: sjabloon", f"id: {folder.name}"), ("track: mbo", f"track: {track.value}"),
                         ("level: mbo 3", f"level: {_LEVELS[track]}")):  # fmt: skip
            text = text.replace(old, new, 1)
        description.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise LeerlabError(
            f"{folder} cannot be written: {error.strerror}.", "Nothing was left behind.", "Make room on the disk."
        ) from error
    return folder
