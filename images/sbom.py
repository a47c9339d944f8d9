"""What is in an image, and under which licences: a CycloneDX bill of materials by syft, and a list made from it."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

from images.errors import BuildFailed
from images.manifest import DebianPackage, Wheel

# All that tells of a package: dpkg's state, copyright files, the metadata of wheels.
TOLD_BY = ("etc/os-release", "usr/lib/os-release", "var/lib/dpkg", "usr/share/doc", "opt/notebook/lib/python3.11/"
           "site-packages/*.dist-info")  # fmt: skip
_SECONDS = 900.0
# For one serial number per image: CycloneDX wants a UUID, and a random one would make two builds differ.
_SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "images.leerlab")
_CLASSIFIER = "License :: "
OWN_TEXT = "a text without a name"


def bill_of_materials(tree: Path, label: tuple[str, str], epoch: str, syft: Path, home: Path) -> dict[str, Any]:
    """The bill of materials of an image (CycloneDX 1.6), without what differs from one run to the next.

    Args:
        tree: folder with what `TOLD_BY` names, out of the image.
        label: the image's name and version.
        epoch: the lock's time, as ISO 8601.
        syft: the program.
        home: an empty folder for what syft keeps.

    Raises:
        BuildFailed: syft did not give one.
    """
    done = subprocess.run(
        [
            str(syft), "scan", f"dir:{tree}", "-q", "-o", "cyclonedx-json", "--source-name", label[0],
            "--source-version", label[1],
        ],
        env={
            "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(home), "SYFT_CHECK_FOR_APP_UPDATE": "false",
            "SYFT_CACHE_DIR": str(home),
        },
        stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    try:
        raw: dict[str, Any] = json.loads(done.stdout)
        components = raw["components"]
    except (ValueError, KeyError, TypeError) as error:
        said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise BuildFailed(f"syft gave no bill of materials: {said or f'exit code {done.returncode}'}.") from error
    for component in components:
        # Guesses of names in a vulnerability database, up to twenty a package; `cpe` keeps the first.
        component["properties"] = [each for each in component.get("properties", ()) if each["name"] != "syft:cpe23"]
        texts = any(_is_text(each) for each in component.get("licenses", ()))
        if (texts or not component.get("licenses")) and (named := _of_classifiers(tree, component)):
            component["licenses"] = [{"license": {"name": name}} for name in named]
    components.sort(key=lambda each: (each["name"], each.get("version", ""), each["bom-ref"]))
    raw["serialNumber"] = f"urn:uuid:{uuid.uuid5(_SPACE, json.dumps(components, sort_keys=True))}"
    raw["metadata"]["timestamp"] = epoch
    # syft makes it of the folder's path, which is another for each build.
    raw["metadata"]["component"]["bom-ref"] = "-".join(label)
    if isinstance(raw.get("dependencies"), list):
        raw["dependencies"].sort(key=lambda each: each["ref"])
    return raw


def _of_classifiers(tree: Path, component: dict[str, Any]) -> list[str]:
    """Licences that a wheel names in its classifiers alone."""
    for place in component["properties"]:
        if place["name"].startswith("syft:location:") and place["value"].endswith("/METADATA"):
            about = message_from_bytes((tree / place["value"].lstrip("/")).read_bytes())
            return sorted(
                {
                    str(each).split(" :: ")[-1]
                    for each in about.get_all("Classifier", ())
                    if str(each).startswith(_CLASSIFIER)
                }
            )
    return []


def missing(bom: dict[str, Any], debian: Iterable[DebianPackage], wheels: Iterable[Wheel]) -> list[str]:
    """Packages that were put into the image and that the bill of materials does not name."""
    named = {(_plain(each["name"]), each.get("version", "")) for each in bom["components"]}
    put = [(package.name, package.version) for package in debian]
    put += [(wheel.file.split("-")[0], wheel.file.split("-")[1].replace("%2B", "+")) for wheel in wheels]
    return [f"{name} {version}" for name, version in put if (_plain(name), version) not in named]


def _plain(name: str) -> str:
    """As the index compares names (PEP 503), so that wheels and metadata agree."""
    return name.lower().replace("-", "_").replace(".", "_")


def licences(bom: dict[str, Any]) -> dict[str, Any]:
    """Each licence with the parts that name it, and the parts that name none that a program can read."""
    by_licence: dict[str, list[str]] = {}
    unnamed: list[str] = []
    for component in bom["components"]:
        name = f"{component['name']} {component.get('version', '')}".strip()
        found = sorted(set(_named(component)))
        for each in found:
            by_licence.setdefault(each, []).append(name)
        if not found:
            unnamed.append(name)
    return {
        "about": "Licences as the packages name them. Under `unnamed` stand packages whose licence no program could "
        "read: their texts are in the image, in /usr/share/doc/<package>/copyright or in the .dist-info folder.",
        "licences": {name: sorted(set(parts)) for name, parts in sorted(by_licence.items())},
        "unnamed": sorted(set(unnamed)),
    }


def _named(component: dict[str, Any]) -> Iterator[str]:
    for each in component.get("licenses", ()):
        if "expression" in each:
            yield str(each["expression"])
        elif named := each.get("license", {}).get("id") or each.get("license", {}).get("name"):
            first = str(named).strip().split("\n")[0]
            yield first if not _is_text(each) or "Licen" in first else OWN_TEXT


def _is_text(licence: dict[str, Any]) -> bool:
    """Whether somebody put a licence's whole text where its name belongs."""
    return "\n" in str(licence.get("license", {}).get("name", "")).strip()


def to_json(value: Any) -> bytes:
    """A file that is the same for the same value."""
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
