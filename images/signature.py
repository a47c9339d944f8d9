"""Signatures over manifests, made and checked by minisign (https://jedisct1.github.io/minisign/).

What is checked is handed over in memory: nobody can change a file between the check and its use.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
import sys
from pathlib import Path

from images.errors import BuildFailed, ImageRefused

MINISIGN = "/usr/bin/minisign"
_SECONDS = 30.0
# Algorithm, key id and Ed25519 key: the layout of a minisign public key.
_KEY_BYTES = 2 + 8 + 32
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def is_public_key(text: str) -> bool:
    """Whether a text is a minisign public key: the second line of a `.pub` file."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == _KEY_BYTES and raw[:2] == b"Ed"


def public_key(file: Path) -> str:
    """The public key in a `.pub` file.

    Raises:
        ImageRefused: there is none in it.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageRefused(f"The public key {file} cannot be read: {error}.") from error
    found = [line.strip() for line in lines if is_public_key(line.strip())]
    if len(found) != 1:
        raise ImageRefused(f"{file} holds no minisign public key.", do="Give the .pub file that minisign -G wrote.")
    return found[0]


def _minisign() -> str:
    if not os.access(MINISIGN, os.X_OK):
        raise ImageRefused(
            "minisign is not installed.", "No signature can be checked.", "Install Debian's package minisign."
        )
    return MINISIGN


def _in_memory(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as target:
        target.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def check(content: bytes, signature: bytes, key: str, what: Path) -> None:
    """See that a signature over a content is by a key.

    Args:
        content: what was signed.
        signature: the bytes of the `.minisig` file.
        key: the public key, base64.
        what: the file that the content is from, for the message.

    Raises:
        ImageRefused: it is not, or cannot be checked.
    """
    opened = [_in_memory("content", content), _in_memory("signature", signature)]
    try:
        result = subprocess.run(
            [_minisign(), "-V", "-P", key, "-m", _path(opened[0]), "-x", _path(opened[1])], env=_ENVIRONMENT,
            pass_fds=opened, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip().split("\n")[0].replace(_path(opened[1]), "it")
        raise ImageRefused(
            f"The signature over {what} is not by the key {key}: {said or 'minisign gave no reason'}.",
            "Somebody else made this image, or it was changed after it was signed. Nothing of it was used.",
            "Get the image and its signature again from who built it, and compare the public key with theirs.",
        )


def sign(content: bytes, key: Path, comment: str) -> bytes:
    """Sign; minisign asks for the key's password itself, on a terminal.

    Args:
        content: what to sign.
        key: file of the secret key. Leerlab does not read it; one without a password is made by `minisign -G -W`.
        comment: one line that is signed as well.

    Returns:
        The bytes of the `.minisig` file.

    Raises:
        BuildFailed: minisign did not sign.
    """
    if not os.access(key, os.R_OK):
        raise BuildFailed(
            f"The secret key {key} cannot be read.", "Nothing was signed.", "Name the file of minisign -G."
        )
    held = _in_memory("content", content)
    signature = os.memfd_create("signature", os.MFD_CLOEXEC)
    terminal = sys.stdin.isatty()
    try:
        result = subprocess.run(
            [
                _minisign(), "-S", "-s", str(key), "-m", _path(held), "-x", _path(signature),
                "-c", "signature by Leerlab's image build", "-t", comment,
            ],
            env=_ENVIRONMENT, pass_fds=(held, signature), stdin=None if terminal else subprocess.DEVNULL,
            stdout=None if terminal else subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        if result.returncode:
            said = result.stderr.decode(errors="replace").strip().split("\n")[-1]
            raise BuildFailed(
                f"minisign did not sign with {key}: {said or 'it gave no reason'}.",
                "An image that is not signed is of no use, so none was left.",
                "Give the key's password on a terminal, or use a key without one (minisign -G -W).",
            )
        with os.fdopen(os.dup(signature), "rb") as made:
            made.seek(0)
            return made.read()
    finally:
        os.close(held)
        os.close(signature)
