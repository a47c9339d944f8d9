"""The hub's two answers about people whose servers run: the gateway asks them once in five seconds for each person.

`python -m bench.identities SOCKET KEY COUNT`. In place of a whole hub with twenty running labs, which would take the
two processors of a small machine for itself; the answers are those of JupyterHub 6.1.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

COURSE = "bench"


def identities(key: str, count: int) -> Starlette:
    """The answers about `person0`, `person1` and so on, each with the token `<key>-<number>`.

    Args:
        key: part of every token.
        count: how many people there are.
    """
    people = {f"{key}-{number}": f"person{number}" for number in range(count)}

    async def user(request: Request) -> Response:
        name = people.get(request.headers.get("authorization", "").removeprefix("token "))
        if name is None:
            return JSONResponse({"status": 403}, status_code=403)
        return JSONResponse({"kind": "user", "name": name, "scopes": [f"users:activity!user={name}"]})

    async def users(request: Request) -> Response:
        servers = {"": {"ready": True, "pending": None}}
        groups = [f"nbgrader-{COURSE}"]
        return JSONResponse({"name": request.path_params["name"], "groups": groups, "servers": servers})

    return Starlette(routes=[Route("/hub/api/user", user), Route("/hub/api/users/{name}", users)])


if __name__ == "__main__":
    uvicorn.run(identities(sys.argv[2], int(sys.argv[3])), uds=sys.argv[1], log_config=None, access_log=False)
