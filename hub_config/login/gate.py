"""JupyterHub with our pages, behind the first door: a request that does not name this site in `Host` sees no page."""

from __future__ import annotations

from typing import Any

from jupyterhub.app import JupyterHub
from tornado import web
from tornado.httputil import HTTPServerRequest
from traitlets import Instance, Unicode

from hub_config.login.hosts import HostRule, Hosts
from hub_config.login.oidc import OidcAuthenticator
from portal.assets import HUB_TEMPLATES, TEMPLATES
from portal.hub_pages import PageApplication, page_handlers
from portal.language import JINJA_OPTIONS


class GuardedApplication(PageApplication):
    """JupyterHub's tornado application behind the list of host names in the setting `leerlab_hosts`."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """The handler of the page, or of the refusal."""
        delegate = super().find_handler(request, **kwargs)
        hosts: Hosts = self.settings["leerlab_hosts"]
        rule = hosts.rule(request.host, request.path)
        if rule is HostRule.ANSWER:
            return delegate
        return self.get_handler_delegate(request, OtherHostHandler, {"rule": rule, "home": hosts.home})


class OtherHostHandler(web.RequestHandler):
    """Answers for other names: the hub's pages asked for on a person's origin go home, the rest is refused."""

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
        self.finish(template.render(why="host", base_url="/hub/"))


class GuardedHub(JupyterHub):  # type: ignore[misc]  # JupyterHub has no types
    """JupyterHub with our templates, languages and addresses, answering to the site's own host names only."""

    hosts = Instance(Hosts, help="The host names this site answers to.").tag(config=True)
    language = Unicode("nl", help="The site's language, for who has not chosen and whose browser prefers neither.").tag(
        config=True
    )

    # JupyterHub's own traits, which it gives no types.
    template_paths: list[str]
    jinja_environment_options: dict[str, Any]

    def init_handlers(self) -> None:
        """Our addresses before JupyterHub's own."""
        super().init_handlers()
        self.handlers[:0] = self.add_url_prefix(self.hub_prefix, page_handlers())

    def init_tornado_settings(self) -> None:
        """Our templates before JupyterHub's own, in two languages."""
        self.template_paths = [str(HUB_TEMPLATES), str(TEMPLATES), *self.template_paths]
        self.jinja_environment_options = {**self.jinja_environment_options, **JINJA_OPTIONS}
        super().init_tornado_settings()

    def init_tornado_application(self) -> None:
        """The application that knows hosts and languages."""
        self.tornado_application = GuardedApplication(
            self.handlers, leerlab_hosts=self.hosts, leerlab_language=self.language, **self.tornado_settings
        )

    async def start(self) -> None:
        """Start, then ask the providers whether their people still have their claims."""
        await super().start()
        if self.http_server is not None and isinstance(self.authenticator, OidcAuthenticator):
            self.authenticator.sweep.begin(self)

    async def cleanup(self) -> None:
        """Stop asking, then what JupyterHub stops."""
        if isinstance(self.authenticator, OidcAuthenticator):
            await self.authenticator.sweep.close()
        await super().cleanup()
