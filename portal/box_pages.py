"""The pages of sandboxes: the request form, one sandbox, and what an operator sees of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from base.messages import Message
from ledger.sandboxes import DataClass, SandboxState
from ledger.use import Place
from portal import request as page_request
from portal.boxes import Boxes
from portal.errors import Refused, absent
from portal.file_pages import FilePages
from portal.outside_pages import OutsidePages
from portal.pages import Context, LivePage, Pages
from portal.people import Visitor
from portal.servers import running
from portal.site import SiteView
from portal.snapshot import Snapshot
from portal.use import Used
from sandboxes.life import LONGEST_PURPOSE, LONGEST_TITLE, SECTORS, SandboxRefused
from sandboxes.life import Request as Wish
from sandboxes.risk import SelfCheck
from sandboxes.taking import Taking

CHECKS = ("forbidden", "people", "preparing", "product", "talks", "personal")


@dataclass(frozen=True)
class Form:
    """The request form with what was filled in.

    Args:
        given: fields by name.
        wrong: names of the fields that have to be filled in again.
        reasons: why the sandbox is not granted.
        full: the person has as many sandboxes as are given.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    wrong: frozenset[str] = frozenset()
    reasons: Sequence[Message] = ()
    full: bool = False


class RequestPage:
    """The form with five fields and the self-check, and what follows when it is sent.

    Args:
        boxes: the sandboxes.
        pages: draws.
    """

    def __init__(self, boxes: Boxes, pages: Pages) -> None:
        self._boxes = boxes
        self._pages = pages

    async def show(self, _request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """The empty form."""
        return await self._page(visitor, Form())

    async def send(self, _request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Make the sandbox and go to its page, or show the form again with what is wrong."""
        wish, wrong = read_wish(given, self._boxes.settings.days)
        if wish is None:
            return await self._page(visitor, Form(given, wrong), 400)
        try:
            made = await self._boxes.call(self._boxes.life.request, visitor.name, wish, page_request.current().language)
        except SandboxRefused as refused:
            return await self._page(visitor, Form(given, reasons=refused.reasons), 409)
        except Refused as refused:
            if refused.reason != "not-now":
                raise
            return await self._page(visitor, Form(given, full=True), 409)
        if made.state is SandboxState.ACTIVE:
            await self._boxes.follow()
        # Through the login, which asks nothing: the person's token learns of the new account.
        return RedirectResponse("/login?" + urlencode({"next": f"/sandboxes/{made.id}?new=1"}), 303)

    async def _page(self, visitor: Visitor, form: Form, status: int = 200) -> Response:
        settings = self._boxes.settings
        context: Context = {
            "form": form, "sectors": SECTORS, "classes": [one.value for one in DataClass], "days": settings.days,
            "most": settings.per_person, "longest_title": LONGEST_TITLE, "longest_purpose": LONGEST_PURPOSE,
        }  # fmt: skip
        return await self._pages.page("request.html", visitor, context, status=status)


def read_wish(given: Mapping[str, str], most_days: int) -> tuple[Wish | None, frozenset[str]]:
    """The request that a form's fields make; none, and the names of the wrong fields, when they make no request."""
    title, purpose = given.get("title", "").strip(), given.get("purpose", "").strip()
    days = given.get("days", "")
    number = int(days) if days.isascii() and days.isdigit() and len(days) < 5 else 0
    right = {
        "title": 0 < len(title) <= LONGEST_TITLE,
        "purpose": 0 < len(purpose) <= LONGEST_PURPOSE,
        "sector": given.get("sector") in SECTORS,
        "data_class": given.get("data_class") in [one.value for one in DataClass],
        "days": 1 <= number <= most_days,
    }
    # A question that was not answered is not answered with no.
    right |= {check: given.get(check) in ("yes", "no") for check in CHECKS}
    wrong = frozenset(name for name, well in right.items() if not well)
    if wrong:
        return None, wrong
    check = SelfCheck(**{name: given[name] == "yes" for name in CHECKS})
    return Wish(title, purpose, given["sector"], DataClass(given["data_class"]), number, check), wrong


class SandboxPage:
    """The page of one sandbox, for its members.

    Args:
        boxes: the sandboxes.
        site: for the addresses.
        pages: draws.
        files: what goes in and out.
        outside: what it may reach.
        used: what was used.
    """

    def __init__(
        self, boxes: Boxes, site: SiteView, pages: Pages, *, files: FilePages, outside: OutsidePages, used: Used
    ) -> None:
        self._boxes = boxes
        self._site = site
        self._pages = pages
        self._files = files
        self._outside = outside
        self._used = used

    @property
    def page(self) -> LivePage:
        """The page."""
        return LivePage(
            "sandbox.html", ("seen", "servers", "boxstate", "usage", "use", "transfers", "outside"), self.fill
        )

    async def fill(self, visitor: Visitor, parameters: Mapping[str, str], snapshot: Snapshot) -> Context:
        """What the page shows."""
        box = await self._boxes.get(parameters["sandbox"], visitor.name)
        return {
            "box": box,
            "owner": box.sandbox.owner == visitor.name,
            "members": await self._boxes.members(box.sandbox.id),
            "usage": await self._boxes.usage(box.sandbox.id),
            "use": await self._used.of_place(Place.SANDBOX, box.sandbox.id),
            "watts": self._site.configuration.watts_per_core,
            "open_url": self._site.start_url(box.account, "lab"),
            "servers": running(snapshot, [box.account], self._site),
            "titles": {box.sandbox.id: box.sandbox.title},
            "assistant": self._site.configuration.sandbox_assistant,
            "longest": self._boxes.settings.days,
            "erased_on": (box.sandbox.ended or box.sandbox.ends) + timedelta(days=self._boxes.settings.days_kept),
            **await self._files.fill(box, visitor),
            **await self._outside.fill(box),
        }

    async def extend(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """Give it more time."""
        sandbox = request.path_params["sandbox"]
        await self._boxes.call(self._boxes.life.extend, sandbox, visitor.name)
        return _back(sandbox)

    async def end(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """End it, once the person has ticked that they know what that means."""
        sandbox = request.path_params["sandbox"]
        if given.get("sure") != "yes":
            raise Refused(400, "not-sure", "The box was not ticked.")
        await self._boxes.call(self._boxes.life.end, sandbox, visitor.name)
        await self._boxes.follow()
        return _back(sandbox)

    async def invite(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """Make an invitation and show it, this once: only its hash is kept."""
        sandbox = request.path_params["sandbox"]
        code = await self._boxes.call(self._boxes.life.invite, sandbox, visitor.name)
        box = await self._boxes.get(sandbox, visitor.name)
        return await self._pages.page("invitation.html", visitor, {"box": box, "code": code})

    async def remove(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Take a member out, or leave."""
        sandbox, person = request.path_params["sandbox"], given.get("person", "")
        await self._boxes.call(self._boxes.life.ledger.remove, sandbox, person, visitor.name)
        await self._boxes.follow()
        return RedirectResponse("/?changed=1", 303) if person == visitor.name else _back(sandbox)

    async def join(self, _request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Use an invitation."""
        try:
            joined = await self._boxes.call(self._boxes.life.join, given.get("code", "")[:100], visitor.name)
        except Refused as refused:
            raise Refused(refused.status, "invitation", refused.what) from refused
        await self._boxes.follow()
        return RedirectResponse("/login?" + urlencode({"next": f"/sandboxes/{joined.id}"}), 303)


class OperatorActs:
    """What an operator does with sandboxes.

    Args:
        boxes: the sandboxes.
        taking: the exports of ended sandboxes.
    """

    def __init__(self, boxes: Boxes, taking: Taking) -> None:
        self._boxes = boxes
        self._taking = taking

    async def act(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Approve, refuse or end one, or let its export go."""
        sandbox, life = request.path_params["sandbox"], self._boxes.life
        match request.path_params["act"]:
            case "approve":
                await self._boxes.call(life.approve, sandbox, visitor.name)
            case "refuse":
                await self._boxes.call(life.refuse, sandbox, visitor.name)
            case "release":
                await self._boxes.call(self._taking.release, sandbox, visitor.name, operator=True)
            case "end":
                if given.get("sure") != "yes":
                    raise Refused(400, "not-sure", "The box was not ticked.")
                await self._boxes.call(life.end, sandbox, visitor.name, operator=True)
            case _:
                raise absent()
        await self._boxes.follow()
        return RedirectResponse("/operator?changed=1", 303)


def _back(sandbox: str) -> Response:
    return RedirectResponse(f"/sandboxes/{sandbox}?changed=1", 303)
