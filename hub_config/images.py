"""The images that a site's labs and graded runs run from: where they stand, and putting them there."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from base.errors import LeerlabError
from base.paths import Installation, State
from confinement import seccomp
from confinement.run import start
from confinement.wall import Wall
from grading.plans import NOTEBOOK_ENV, seccomp_of
from hub_config.site import Site
from images.settings import ImageSettings
from images.shelf import verify
from images.unpack import Step, forget_others, root_of, unpack

LOOK_SECONDS = 60.0
LOOK = "import jupyterhub, jupyterlab, nbgrader"


def with_image(site: Site, state: State, installation: Installation) -> Installation:
    """The installation with the root file system that the site's walls run from; it need not be there yet.

    Raises:
        ImageRefused: the image's manifest is not signed by the site's key, or is another image's.
    """
    if site.images is None:
        return replace(installation, image=None)
    root, _ = root_of(state.images, site.images.files, site.images.key)
    return replace(installation, image=root)


def roots_of_profiles(site: Site, state: State) -> dict[str, Path]:
    """Where the image of each profile that names one stands or will stand unpacked, by the image's label.

    Raises:
        ImageRefused: a manifest is not signed by the site's key, or is another image's.
    """
    if site.images is None:
        return {}
    named = {profile.image for profile in site.profiles if profile.image is not None}
    return {
        label: root_of(state.images, site.images.files_of(label), site.images.key)[0]
        for label in site.images.labels
        if label in named
    }


def unpacked(site: Site, state: State, installation: Installation) -> Installation:
    """As `with_image`, for what runs beside a site that was started: the image is there.

    Raises:
        LeerlabError: it is not.
    """
    found = with_image(site, state, installation)
    if found.image is not None and not found.image.is_dir():
        raise LeerlabError(
            f"The site's image {site.images.notebook if site.images else ''} is not unpacked yet.",
            "Labs and graded work of this site run from it.",
            "Start the site once: leerlab up.",
        )
    return found


def prepare_image(site: Site, state: State, step: Step, *, jobs_run: bool) -> None:
    """Unpack the site's images where they are not yet, and remove the ones that nothing runs from.

    Args:
        site: the checked settings.
        state: the site's state folder, which no other `up` or `down` works on.
        step: called with one English phrase at each step.
        jobs_run: whether jobs of an earlier start go on: they may run from an earlier image.

    Raises:
        ImageRefused: the image is not what its signature says, or cannot be unpacked.
    """
    roots = []
    if site.images is not None:
        seccomp.write_filter(seccomp_of(state))
        for label in site.images.labels:
            files = site.images.files_of(label)
            roots.append(unpack(state.images, files, site.images.key, seccomp_of(state), step))
    if not jobs_run:
        forget_others(state.images, roots)


def see_image(images: ImageSettings, state: State) -> str:
    """Every byte of the site's images is what was signed, and what is unpacked of each starts in a wall.

    Raises:
        LeerlabError: one of the two is not so.
    """
    seen = [_see(images, label, state) for label in images.labels]
    return f"{', '.join(seen)}: what was signed, and {'starts' if len(seen) == 1 else 'each starts'}"


def _see(images: ImageSettings, label: str, state: State) -> str:
    manifest = verify(images.files_of(label), images.key)
    root = state.images / manifest.sha256
    if not root.is_dir():
        raise LeerlabError(
            "The image is not unpacked.", "No lab runs from it.", "Run ./leerlab down, then ./leerlab up."
        )
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=state.run) as home:
        command = (f"{NOTEBOOK_ENV}/bin/python", "-I", "-c", LOOK)
        with start(Wall(command, Path(home), seccomp_of(state), root=root)) as walled:
            try:
                code = walled.wait(LOOK_SECONDS)
            except TimeoutError:
                code = walled.terminate()
            said = walled.output.decode(errors="replace").strip().split("\n")[-1]
    if code:
        raise LeerlabError(
            f"The image does not start: {said or f'exit code {code}'}.", "Notebooks do not start.",
            f"Run ./leerlab down, remove {root}, run ./leerlab up.",
        )  # fmt: skip
    return manifest.label
