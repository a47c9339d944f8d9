"""The definition with which Apptainer makes its own kind of image of exactly the same files."""

from __future__ import annotations

from collections.abc import Mapping

_TEXT = """\
# Written by `leerlab image build`. In the folder of the image, with the public key of whoever signed it:
#   leerlab image verify {label} --folder . --public-key KEY && apptainer build {label}.sif {label}.def
Bootstrap: scratch

%setup
    set -eu
    echo "{sha256}  {label}.squashfs" | sha256sum -c -
    unsquashfs -no-progress -no-xattrs -f -d "${{APPTAINER_ROOTFS}}" {label}.squashfs

%environment
    export PATH=/opt/notebook/bin:/usr/bin:/bin LANG=C.UTF-8

%labels
    org.opencontainers.image.title {name}
    org.opencontainers.image.version {version}
    leerlab.squashfs.sha256 {sha256}
{locks}

%runscript
    exec "$@"
"""


def definition(name: str, version: str, sha256: str, locks: Mapping[str, str]) -> str:
    """An Apptainer definition file (https://apptainer.org/docs/user/main/definition_files.html).

    Args:
        name: the image's.
        version: the image's.
        sha256: digest of the squashfs file, which lies beside.
        locks: digest of each lock by its file's name.
    """
    return _TEXT.format(
        name=name, version=version, label=f"{name}-{version}", sha256=sha256,
        locks="\n".join(f"    leerlab.lock.{lock} {digest}" for lock, digest in sorted(locks.items())),
    )  # fmt: skip
