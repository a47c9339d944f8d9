"""What people are called and which groups they are in, for many at once: a course of 600 is one question, not 600.

JupyterHub's own API answers for one person (`users/<name>`), or for all of the site, 200 at a time.
"""

from __future__ import annotations

import json

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from sqlalchemy.orm import selectinload
from tornado.web import HTTPError

SERVICE = "grading"
MOST_AT_ONCE = 1000


class PeopleHandler(APIHandler):  # type: ignore[misc]  # JupyterHub has no types
    """`POST /hub/api/leerlab/people` with a list of names: of each that the hub knows, its title and its groups."""

    def post(self) -> None:
        """Answer the grading service, which may also ask for each of them alone, and nobody else."""
        caller = self.current_user
        if not isinstance(caller, orm.Service) or caller.name != SERVICE:
            raise HTTPError(403)
        names = self.get_json_body()
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise HTTPError(400, "Send a list of names.")
        if len(names) > MOST_AT_ONCE:
            raise HTTPError(400, f"At most {MOST_AT_ONCE} names are answered at once.")
        known = self.db.query(orm.User).options(selectinload(orm.User.groups)).filter(orm.User.name.in_(names))
        about = {
            row.name: {"user_info": row.user_info, "groups": [group.name for group in row.groups]} for row in known
        }
        self.finish(json.dumps(about))


HANDLERS = [(r"/api/leerlab/people", PeopleHandler)]
