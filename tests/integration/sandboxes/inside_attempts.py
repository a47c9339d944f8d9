"""Code that somebody in one sandbox runs to reach another: each defines `reaches()`, true for whoever may."""

from __future__ import annotations

READ = """
import pathlib
def reaches():
    path = pathlib.Path({path!r})
    return bool(list(path.iterdir()) if path.is_dir() else path.read_bytes())
"""
LEDGER = """
import sqlite3
def reaches():
    connection = sqlite3.connect("file:{path}?mode=ro", uri=True)
    return bool(connection.execute("select title from sandbox").fetchall())
"""
WRITE = """
import pathlib
def reaches():
    path = pathlib.Path({path!r}) / "put-here-by-an-attack.csv"
    path.write_text("x")
    path.unlink()
    return True
"""
TCP = """
import socket
def reaches():
    with socket.create_connection(("127.0.0.1", {port}), 3):
        return True
"""
# Through the proxy that the wall offers; straight to it where there is no wall.
BY_PROXY = """
import os, socket
def reaches():
    proxied = "http_proxy" in os.environ
    target = "http://127.0.0.1:{port}{path}" if proxied else "{path}"
    with socket.create_connection(("127.0.0.1", {proxy} if proxied else {port}), 20) as s:
        s.sendall(f"GET {{target}} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n".encode())
        said = s.recv(200).decode(errors="replace")
    return " 200 " in said.partition("\\n")[0] or said.partition("\\n")[0]
"""
ABSTRACT = """
import socket
def reaches():
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(3)
        s.connect({name!r})
        return True
"""
PROCESSES = """
import pathlib
def reaches():
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and {word!r} in (entry / {file!r}).read_bytes().decode(errors="replace"):
                return True
        except OSError:
            continue
    return False
"""
SIGNAL = """
import os
def reaches():
    os.kill({pid}, 0)
    return True
"""
SYSTEM_V = """
import ctypes
def reaches():
    return ctypes.CDLL(None, use_errno=True).shmget({key}, 0, 0) >= 0
"""
# All at once: where there is no configuration, each command waits for one before it gives up.
SLURM = """
import subprocess, time
def reaches():
    until = time.monotonic() + {seconds}
    environment = {{"PATH": "/usr/bin:/bin", "SLURM_CONF": {conf!r}}}
    commands = {{what: subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT) for what, (argv, _) in {commands!r}.items()}}
    done = {{}}
    for what, process in commands.items():
        try:
            left = max(0.1, until - time.monotonic())
            said = process.communicate(b"#!/bin/sh\\ntrue\\n", timeout=left)[0].decode(errors="replace")
            done[what] = process.returncode == 0 and {commands!r}[what][1] in said
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            done[what] = False
    return done
"""
HUB = """
import json, os, urllib.error, urllib.request
def reaches():
    request = urllib.request.Request("http://127.0.0.1:8081/hub/api{path}", method={method!r},
        data=None if {body!r} is None else json.dumps({body!r}).encode(),
        headers={{"Authorization": "token " + ({token!r} or os.environ["JUPYTERHUB_API_TOKEN"]),
                  "Content-Type": "application/json"}})
    try:
        return urllib.request.urlopen(request, timeout=20).status < 300
    except urllib.error.HTTPError as error:
        return error.code
"""
EXCHANGE = """
import os, urllib.request
def reaches():
    request = urllib.request.Request("http://127.0.0.1:8082/exchange/courses",
        headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    return urllib.request.urlopen(request, timeout=30).status == 200
"""
ENDING = """
import json
try:
    print(json.dumps(reaches()))
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""

# What the other company has running while it is attacked, in every place where walls could leak. It stays until its
# kernel ends; its second process is found by a word in its arguments and one in its environment.
TARGETS = """
import ctypes, json, multiprocessing.shared_memory, os, pathlib, socket, subprocess, sys, threading
from ipykernel.connect import get_connection_file
pathlib.Path("/tmp/klant-geheim").write_text("recept")
pathlib.Path("/srv/sandbox/recept.csv").write_text("melk;zout\\n3;1\\n")
pathlib.Path.home().joinpath("eigen-notities").write_text("recept")
memory = multiprocessing.shared_memory.SharedMemory("klantgeheim", create=True, size=64)
listener = socket.socket(socket.AF_UNIX); listener.bind("\\0klant-geheim"); listener.listen(5)
web = socket.socket(); web.bind(("127.0.0.1", 0)); web.listen(5)
def take(one):
    while True:
        one.accept()[0].close()
for one in (listener, web):
    threading.Thread(target=take, args=(one,), daemon=True).start()
segment = ctypes.CDLL(None, use_errno=True).shmget(0x6b616173, 4096, 0o1600)
second = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "klantgeheim-argument"],
    env={**os.environ, "KLANT": "klantgeheim-omgeving"})
print(json.dumps({"kernel": json.loads(pathlib.Path(get_connection_file()).read_text())["shell_port"],
    "web": web.getsockname()[1], "segment": segment, "token": os.environ["JUPYTERHUB_API_TOKEN"]}))
"""

# What a member leaves running, deaf to a polite request to end.
HEARTBEAT = """
import os, pathlib, subprocess, sys, time
code = '''import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    pathlib.Path("/srv/sandbox/hartslag").write_text(str(time.time()))
    time.sleep(.05)'''
subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
while not pathlib.Path("/srv/sandbox/hartslag").exists(): time.sleep(.05)
print("true")
"""
