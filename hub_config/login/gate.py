"""The first door: a request that does not name this site in `Host` never reaches a page."""

from __future__ import annotations

from typing import Any

from tornado import web
from tornado.httputil import HTTPServerRequest

from hub_config.login.hosts import HostRule, Hosts
from portal.hub_pages import PageApplication


class GuardedApplication(PageApplication):
    """JupyterHub's tornado application behind the list of host names in the setting `leerlab_hosts`."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """The handler of the page, or of the refusal."""
        delegate = super().find_handler(request, **kwargs)
        hosts: Hosts = self.settings["leerlab_hosts"]
        rule = hosts.rule(request.host, request.path)
        if rule is HostRule.ANSWER:
            return delegate
        return self.get_handler_delegate(request, OtherHostHandler, {"rule": rule, "home": f"http://{hosts.hub}"})


class OtherHostHandler(web.RequestHandler):
    """Answers requests for another name: a page of the hub asked for on a person's origin goes home, the rest is refused."""

    def initialize(self, rule: HostRule, home: str) -> None:
        """Take what the application found out."""
        self._rule = rule
        self._home = home

    def check_xsrf_cookie(self) -> None:
        """Nothing is done for any request here, so there is nothing to forge."""

    def prepare(self) -> None:
        """Answer, whatever the method."""
        if self._rule is HostRule.SEND_HOME and self.request.method == "GET":
            self.redirect(self._home + "/" + (self.request.uri or "/").lstrip("/"))
            return
        self.set_status(403)
        template = self.settings["jinja2_env_sync"].get_template("login_refused.html")
        self.finish(template.render(why="host", base_url="/hub/", address=self._home))
