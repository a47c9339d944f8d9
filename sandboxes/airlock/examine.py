"""Looks at one untrusted file, inside the wall: its type by its contents, and what an archive holds.

Run as `/usr/bin/python3 -I examine.py FILE NAME LIMITS`: Debian's Python, standard library and file(1) only. It writes
one JSON object: `{"refused": CODE}` or `{"refused": null}`.
"""

from __future__ import annotations

import json
import re
import resource
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from typing import IO

# By extension: the types that file(1) may find. Text is text whatever its extension says; a browser shows none of it.
TYPES = {
    "csv": ("text/", "application/csv"),
    "txt": ("text/",),
    "md": ("text/",),
    "json": ("application/json", "text/", "application/x-ndjson"),
    "ipynb": ("application/json", "text/"),
    "parquet": ("application/vnd.apache.parquet", "application/octet-stream"),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "application/zip"),
    "png": ("image/png",),
    "jpg": ("image/jpeg",),
    "jpeg": ("image/jpeg",),
    "pdf": ("application/pdf",),
    "wav": ("audio/x-wav", "audio/wav"),
    "zip": ("application/zip",),
    "tar": ("application/x-tar",),
    "gz": ("application/gzip",),
    "tgz": ("application/gzip",),
}
ARCHIVES = ("zip", "tar", "gz", "tgz", "7z", "rar", "xz", "bz2", "zst", "jar", "iso", "cab")
# How archives begin, whatever they are called: zip (and office files), gzip, xz, bzip2, 7z, rar, zstd, cab.
ARCHIVES_BEGIN = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"\xfd7zXZ\0",
    b"BZh",
    b"7z\xbc\xaf'\x1c",
    b"Rar!",
    b"\x28\xb5\x2f\xfd",
    b"MSCF",
)
TEXTS = ("csv", "txt", "md", "json", "ipynb")
# What no text holds: control characters (ISO/IEC 6429) but tab, line feed, form feed, carriage return and next line.
CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")
TAR_MAGIC = b"ustar"
PARQUET = b"PAR1"
_PIECE = 2**20
MEMORY = 256 * 2**20
"""Bytes that this program may use: an archive itself says how long a name in it is, and the libraries read it whole."""


class Refused(Exception):
    """The file does not pass; the argument is the reason's code."""


def examine(path: str, name: str, limits: dict[str, int]) -> None:
    """Raise `Refused` when the file may not pass.

    Args:
        path: the file.
        name: what it is to be called.
        limits: `unpacked` bytes, `ratio` and `entries` of an archive.
    """
    extension = name.rpartition(".")[2].lower()
    if extension not in TYPES:
        raise Refused("type")
    found = subprocess.run(
        ["/usr/bin/file", "--brief", "--mime-type", "--", path], capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()
    if found in ("application/x-empty", "inode/x-empty"):
        raise Refused("empty")
    if not found.startswith(TYPES[extension]):
        raise Refused("disguised")
    if extension in TEXTS:
        look_at_text(path)
    if extension == "parquet":
        with open(path, "rb") as file:  # noqa: PTH123  # one import less
            begins = file.read(len(PARQUET)) == PARQUET
            file.seek(-len(PARQUET), 2)
            # The format's magic stands at both ends (Apache Parquet, file format).
            if not begins or file.read() != PARQUET:
                raise Refused("disguised")
    if extension in ("zip", "xlsx"):
        look_into_zip(path, limits)
    elif zipfile.is_zipfile(path):
        # A zip archive is found by its end: another type may stand before it.
        raise Refused("two-types")
    if extension == "gz" and not name.lower().endswith(".tar.gz"):
        raise Refused("type")
    if extension in ("tar", "gz", "tgz"):
        look_into_tar(path, limits)


def look_at_text(path: str) -> None:
    """Text in UTF-8, UTF-16 or Windows-1252, without control characters: a program in disguise has those."""
    with open(path, "rb") as file:  # noqa: PTH123
        begins = file.read(2)
    for encoding in ("utf-16",) if begins in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            with open(path, encoding=encoding, newline="") as text:  # noqa: PTH123
                while piece := text.read(_PIECE):
                    if CONTROL.search(piece):
                        raise Refused("disguised")
            return
        except UnicodeDecodeError:
            continue
    raise Refused("disguised")


def look_into_zip(path: str, limits: dict[str, int]) -> None:
    """Every entry: its name, its kind, and its true size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > limits["entries"]:
                raise Refused("too-many")
            end = 0
            for entry in sorted(entries, key=lambda one: one.header_offset):
                if entry.header_offset < end:
                    raise Refused("overlapping")
                end = entry.header_offset + entry.compress_size
                if entry.flag_bits & 0x1:
                    raise Refused("encrypted")
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise Refused("link" if kind == stat.S_IFLNK else "special")
                look_at_name(entry.filename)
            room = _Room(path, limits)
            for entry in entries:
                if not entry.is_dir():
                    with archive.open(entry) as content:
                        room.take(content)
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError, UnicodeDecodeError, RuntimeError) as error:
        raise Refused("broken") from error


def look_into_tar(path: str, limits: dict[str, int]) -> None:
    """The same; nothing but files and folders may be in it."""
    try:
        with tarfile.open(path) as archive:
            room = _Room(path, limits)
            for count, entry in enumerate(archive, 1):
                if count > limits["entries"]:
                    raise Refused("too-many")
                if not (entry.isreg() or entry.isdir()):
                    raise Refused("link" if entry.issym() or entry.islnk() else "special")
                look_at_name(entry.name)
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is not None:
                    room.take(content)
    except (tarfile.TarError, zlib.error, EOFError, OSError, UnicodeDecodeError) as error:
        raise Refused("broken") from error


def look_at_name(name: str) -> None:
    """An entry may not leave the folder it is unpacked in, hide another archive, or bring macros."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or ":" in parts[0]:
        raise Refused("leaves-folder")
    if parts[-1].rpartition(".")[2].lower() in ARCHIVES:
        raise Refused("nested")
    if parts[-1].lower() in ("vbaproject.bin", "vbadata.xml"):
        raise Refused("macros")


class _Room:
    """What may still be unpacked: counted while unpacking, because headers can lie."""

    def __init__(self, path: str, limits: dict[str, int]) -> None:
        with open(path, "rb") as file:  # noqa: PTH123
            packed = file.seek(0, 2)
        self._left = min(limits["unpacked"], max(packed, 1) * limits["ratio"])

    def take(self, content: IO[bytes]) -> None:
        """Unpack one entry to nowhere, and see by its own first bytes whether it is an archive itself."""
        first = True
        while piece := content.read(_PIECE):
            if first and (piece.startswith(ARCHIVES_BEGIN) or piece[257:262] == TAR_MAGIC):
                raise Refused("nested")
            first = False
            self._left -= len(piece)
            if self._left < 0:
                raise Refused("bomb")


def main(arguments: list[str]) -> int:
    """Print the verdict."""
    path, name, limits = arguments
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answer = None
    try:
        examine(path, name, json.loads(limits))
    except Refused as refused:
        answer = str(refused)
    except MemoryError:
        answer = "bomb"
    print(json.dumps({"refused": answer}))  # noqa: T201  # its answer
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
