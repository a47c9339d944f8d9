"""`leerlab image`: build an image, see whether it is what its signature says, compare two."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.table import Table

from base.errors import InputError, LeerlabError
from cli import output
from cli.site import JsonOption, SiteOption, read_site
from confinement import seccomp
from images import debian, shelf
from images.build import Order, build
from images.difference import compare
from images.manifest import ImageFiles
from images.recipe import RECIPES, Ingredients, read_recipe
from images.signature import is_public_key, public_key

app = typer.Typer(
    name="image",
    help="Images: build one from its locks, see that it is what its signature says, compare two.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A name in images/recipes, or a .toml file with its locks beside it.")
]
FolderOption = Annotated[Path | None, typer.Option("--folder", readable=False, help="Folder with the images.")]
KeyOption = Annotated[
    str | None, typer.Option("--public-key", metavar="KEY|FILE", help="minisign's public key, or its .pub file.")
]
MirrorOption = Annotated[str, typer.Option(metavar="URL", help="Debian's archive.")]
SecurityOption = Annotated[str, typer.Option(metavar="URL", help="Debian's security archive.")]


def _here(path: Path) -> Path:
    """A path of the command line: relative to where `./leerlab` was started."""
    return Path(os.environ.get("LEERLAB_CWD", ".")).absolute() / path


def _ingredients(recipe: str) -> Ingredients:
    if recipe.endswith(".toml"):
        file = _here(Path(recipe))
        return read_recipe(file, file.parent)
    known = sorted(file.stem for file in RECIPES.glob("*.toml"))
    if recipe not in known:
        raise InputError(f"There is no recipe {recipe}.", f"There are {', '.join(known)}.", "Or name a .toml file.")
    return read_recipe(RECIPES / f"{recipe}.toml")


@app.command("build")
def build_image(
    *,
    recipe: RecipeArgument = "notebook",
    version: Annotated[str, typer.Option(help="The new image's version: begins with a digit, such as 2026.11.1.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder that gets the image's files.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="minisign's secret key, with which the image is signed.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Take packages from debian/ and wheels/ in it; ask no network."),
    ] = None,
    mirror: MirrorOption = debian.MIRROR,
    security: SecurityOption = debian.SECURITY,
    json: JsonOption = False,
) -> None:
    """Build an image from its locks and sign it. As root, or as an account with a range of users (/etc/subuid)."""
    order = Order(
        ingredients=_ingredients(recipe),
        version=version,
        out=_here(out),
        key=_here(key),
        store=_here(source) if source else Path(os.environ["LEERLAB_DATA"], "image-store"),
        syft=Path(os.environ["LEERLAB_IMAGE_ENV"], "bin/syft"),
        offline=source is not None,
        mirror=mirror,
        security=security,
    )
    os.umask(0o022)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with output.steps(f"Building {order.files.label}") as step:
            built = build(order, step)
    except KeyboardInterrupt:
        raise LeerlabError("Interrupted.", "Nothing was built and nothing was left.") from None
    manifest = built.manifest
    if json:
        output.print_json(
            {"label": built.label, "sha256": manifest.sha256, "size": manifest.size, "unpacked": manifest.unpacked,
             "seconds": built.seconds}
        )  # fmt: skip
        return
    took = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in built.seconds.items())
    output.out.print(f"{order.files.squashfs}: {_mebibytes(manifest.size)}, SHA-256 {manifest.sha256}", markup=False)
    output.out.print(f"{_mebibytes(manifest.unpacked)} unpacked; {took}.", markup=False)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@app.command()
def lock(
    recipe: RecipeArgument = "notebook",
    mirror: MirrorOption = debian.MIRROR,
    security: SecurityOption = debian.SECURITY,
) -> None:
    """Print the lock of Debian packages that the archive gives now, for images/locks."""
    wanted = _ingredients(recipe).recipe
    machine = subprocess.run(["/usr/bin/dpkg", "--print-architecture"], capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory(prefix="leerlab-lock-") as folder, output.steps("Asking Debian's archive"):
        archive = debian.Archive(Path(folder), wanted.suite, mirror, security)
        made = debian.make_lock(wanted, archive, machine.stdout.strip() or platform.machine())
    output.out.print(made.to_json(), markup=False, end="")


def _where(folder: Path | None, key: str | None, site: Path | None) -> tuple[Path, str]:
    """The folder of images and the public key: as given, or as a site.yaml says."""
    if site is not None:
        settings, _, _ = read_site(site)
        if settings.images is None:
            raise InputError(f"{site} has no section images.", "Its labs run from the installation's own environment.")
        return Path(settings.images.folder), settings.images.key
    if folder is None or key is None:
        raise InputError("Which images, and signed by whom?", do="Give --folder and --public-key, or --site.")
    return _here(folder), key if is_public_key(key) else public_key(_here(Path(key)))


@app.command()
def verify(
    image: Annotated[str, typer.Argument(metavar="NAME-VERSION")],
    folder: FolderOption = None,
    key: KeyOption = None,
    site: SiteOption = None,
    json: JsonOption = False,
) -> None:
    """See that an image is signed by the key, and that no byte of it was changed."""
    place, public = _where(folder, key, site)
    with output.steps(f"Verifying {image}"):
        manifest = shelf.verify(ImageFiles(place, image), public)
    if json:
        output.print_json({"label": manifest.label, "sha256": manifest.sha256, "size": manifest.size})
    else:
        output.out.print(
            f"{image} is what was signed: {_mebibytes(manifest.size)}, SHA-256 {manifest.sha256}, "
            f"{len(manifest.debian)} Debian packages and {len(manifest.python)} wheels.",
            markup=False,
        )


@app.command("list")
def list_images(
    folder: FolderOption = None, key: KeyOption = None, site: SiteOption = None, json: JsonOption = False
) -> None:
    """List the images in a folder, and whether each is signed by the key."""
    place, public = _where(folder, key, site)
    found = shelf.images_in(place, public)
    if json:
        output.print_json(
            [
                {"label": each.label, "size": each.size, "sha256": each.manifest.sha256 if each.manifest else None,
                 "problem": each.problem}
                for each in found
            ]
        )  # fmt: skip
        return
    table = Table("image", "size", "SHA-256", "signature", box=None)
    for each in found:
        digest = each.manifest.sha256[:16] if each.manifest else ""
        table.add_row(*map(output.as_is, (each.label, _mebibytes(each.size), digest, each.problem or "holds")))
    output.out.print(table if found else f"There are no images in {place}.")


@app.command()
def diff(
    one: Annotated[Path, typer.Argument(metavar="A.squashfs", readable=False)],
    other: Annotated[Path, typer.Argument(metavar="B.squashfs", readable=False)],
    json: JsonOption = False,
) -> None:
    """Compare two images: which files differ, at which byte, and what they were made of that explains it."""
    with tempfile.TemporaryDirectory(prefix="leerlab-diff-") as folder, output.steps("Comparing"):
        filter_file = Path(folder, "seccomp.bpf")
        seccomp.write_filter(filter_file)
        try:
            found = compare(_here(one), _here(other), filter_file)
        except OSError as error:
            raise LeerlabError(f"The images cannot be unpacked to compare them: {error}.") from error
    if json:
        output.print_json(asdict(found))
    elif found.same:
        output.out.print("The same, byte for byte.")
    else:
        for line in found.files:
            output.out.print(line, markup=False)
        if found.more:
            output.out.print(f"and {found.more} more")
        output.out.print(
            "Made of other things:" if found.reasons else "Both were made of the same, by the same programs."
        )
        for line in found.reasons:
            output.out.print(f"  {line}", markup=False)
    if not found.same:
        raise typer.Exit(1)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
