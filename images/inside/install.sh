#!/bin/sh
# Runs inside the new root file system: makes the notebook environment from wheels alone, at the place where it is used.
# What is in /opt/.build: `locks` in their order, `NN-<name>.txt`, and `wheels`. Asks no network.
set -eu
umask 022
export LANG=C.UTF-8 HOME=/nonexistent PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0

set -- /opt/.build/locks/*.txt
if [ -e "$1" ]; then
    /usr/bin/python3 -m venv /opt/notebook
    for lock in "$@"; do
        # Compiled files would hold the time of their making: inside/compile.py makes others.
        /opt/notebook/bin/python -m pip install -q --no-index --no-deps --require-hashes --no-compile --no-cache-dir \
            --disable-pip-version-check --no-warn-script-location --root-user-action=ignore \
            --find-links /opt/.build/wheels -r "$lock"
    done
    /opt/notebook/bin/python -m pip check
fi
exec /usr/bin/python3 /opt/.build/compile.py
