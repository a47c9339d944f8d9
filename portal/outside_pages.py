"""What a sandbox may reach outside, as its page shows it: asking, agreeing, closing, and what was reached."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ledger.openings import OpeningLedger
from portal.boxes import BoxCard, Boxes
from portal.errors import Refused
from portal.pages import Context
from portal.people import Visitor
from sandboxes.egress import log_of

MOST_LINES = 10


class OutsidePages:
    """The way out of sandboxes.

    Args:
        boxes: the sandboxes.
        openings: what members asked for and agreed on.
    """

    def __init__(self, boxes: Boxes, openings: OpeningLedger) -> None:
        self._boxes = boxes
        self._openings = openings

    async def fill(self, box: BoxCard) -> Context:
        """What the page shows: places that are open or asked for, those that are left to ask for, the newest lines."""
        offered = self._boxes.settings.hosts
        found = [one for one in await self._boxes.call(self._openings.of, box.sandbox.id) if one.host in offered]
        taken = {one.host for one in found}
        return {
            "openings": found,
            "openable": [host for host in offered if host not in taken],
            "askers": await self._boxes.titles(sorted({one.asked_by for one in found})),
            "reached": await self._boxes.call(log_of, self._boxes.life.folders(box.sandbox.id), MOST_LINES),
        }

    async def act(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Ask for a place that the site offers, agree to one that another asked for, or close one."""
        sandbox, host = request.path_params["sandbox"], given.get("host", "")
        if host not in self._boxes.settings.hosts:
            raise Refused(400, "wrong", "The site does not offer this place.")
        match given.get("act"):
            case "ask":
                await self._boxes.call(self._openings.ask, sandbox, host, visitor.name)
            case "agree":
                await self._boxes.call(self._openings.agree, sandbox, host, visitor.name)
                await self._boxes.follow()
            case "close":
                await self._boxes.call(self._openings.close, sandbox, host, visitor.name)
                await self._boxes.follow()
            case _:
                raise Refused(400, "wrong", "Neither asking, agreeing nor closing.")
        return RedirectResponse(f"/sandboxes/{sandbox}?changed=1#outside-title", 303)
