"""Beginnings of the scripts that the tests run in labs and in the course's server."""

LAB = """
import json, sys
from nbgrader.server_extensions.assignment_list.handlers import AssignmentList
lister = AssignmentList(); lister.root_dir = "/home/nb"
"""
API = """
import json
from nbgrader.apps import NbGraderAPI
from nbgrader.apps.baseapp import NbGrader
app = NbGrader(); app.initialize([])
api = NbGraderAPI(app.coursedir, app.authenticator, parent=app)
assert not api.exchange_missing, "formgrader would say that there is no exchange"
def act(action, *names):
    result = getattr(api, action)("week-1", *names)
    assert result["success"], "\\n".join(str(part) for part in result.values())
    return result
"""
