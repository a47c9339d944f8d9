"""Draws pages and their live regions: the same templates for a whole page and for a part that is sent later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from portal import request as page_request
from portal.language import template_environment
from portal.people import Visitor
from portal.site import SiteView
from portal.snapshot import Looks, Snapshot

Context = dict[str, Any]


@dataclass(frozen=True)
class LivePage:
    """A page whose marked regions follow what happens.

    Args:
        template: of the whole page.
        regions: names of its `data-region`s; each is drawn by `regions/<name>.html`.
        fill: what the templates show, for a person, the path's parameters and what runs.
    """

    template: str
    regions: tuple[str, ...]
    fill: Callable[[Visitor, Mapping[str, str], Snapshot], Awaitable[Context]]


@dataclass(frozen=True)
class Place:
    """A link in the page's head, by the name that the shell knows a text for."""

    name: str
    url: str
    current: bool


class Pages:
    """All drawing of the portal.

    Args:
        site: the site.
        looks: what runs.
    """

    def __init__(self, site: SiteView, looks: Looks) -> None:
        self._site = site
        self._looks = looks
        self._templates = template_environment()

    async def live(self, page: LivePage, request: Request, visitor: Visitor) -> Response:
        """A whole live page, as of now."""
        snapshot = await self._looks.now(fresh="changed" in request.query_params)
        parameters = {name: str(value) for name, value in request.path_params.items()}
        context = await self.filled(page, visitor, parameters, snapshot, request.url.path)
        live = f"/events?page={quote(request.url.path)}"
        return await self.page(page.template, visitor, {**context, "live": live})

    async def filled(
        self, page: LivePage, visitor: Visitor, parameters: Mapping[str, str], snapshot: Snapshot, path: str
    ) -> Context:
        """What the page's templates show."""
        return {
            **await page.fill(visitor, parameters, snapshot),
            "snapshot": snapshot,
            "visitor": visitor,
            "here": path,
            "xsrf": visitor.csrf,
        }

    async def region(self, name: str, context: Context) -> str:
        """The HTML of one region."""
        return await self._templates.get_template(f"regions/{name}.html").render_async(context)

    async def page(
        self, template: str, visitor: Visitor | None, context: Context, *, status: int = 200
    ) -> HTMLResponse:
        """A whole page in the shell."""
        html = await self._templates.get_template(template).render_async(
            {
                "base_url": "/",
                "home_url": "/",
                "site_title": self._site.title(page_request.current().language),
                "demo": self._site.configuration.demo,
                "person": visitor,
                "visitor": visitor,
                "xsrf": visitor.csrf if visitor else "",
                "navigation": navigation(visitor) if visitor else (),
                **context,
            }
        )
        return HTMLResponse(html, status_code=status)

    async def problem(self, reason: str, status: int) -> HTMLResponse:
        """The page that says what went wrong and what to do."""
        return await self.page("problem.html", None, {"reason": reason, "status": status}, status=status)


def navigation(visitor: Visitor) -> list[Place]:
    """The links in the head of a person's pages; none where there is only one place to go."""
    here = page_request.current().uri.partition("?")[0]
    names = {"home": "/", **({"operator": "/operator"} if visitor.operator else {})}
    return [Place(name, url, url == here) for name, url in names.items()] if len(names) > 1 else []
