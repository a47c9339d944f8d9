"""What goes into and out of a sandbox, as its page shows it: sending in, asking out, an answer, fetching."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from base.errors import LeerlabError
from ledger.transfers import Direction, TransferLedger, TransferState
from portal.boxes import BoxCard, Boxes
from portal.errors import Refused, absent
from portal.forms import chunks_of, uploaded
from portal.pages import Context
from portal.people import Visitor
from sandboxes.airlock.clamav import Scanner
from sandboxes.airlock.outgoing import Outgoing
from sandboxes.airlock.quarantine import Quarantine
from sandboxes.taking import Taking

MOST_SHOWN = 30


class FilePages:
    """Files on their way.

    Args:
        boxes: the sandboxes.
        transfers: where files on their way are remembered.
        quarantine: the way in.
        outgoing: the way out.
        scanner: the virus scanner.
        taking: the exports of ended sandboxes.
    """

    def __init__(
        self, boxes: Boxes, transfers: TransferLedger, *, quarantine: Quarantine, outgoing: Outgoing, scanner: Scanner,
        taking: Taking,
    ) -> None:  # fmt: skip
        self._boxes = boxes
        self._transfers = transfers
        self._quarantine = quarantine
        self._outgoing = outgoing
        self._scanner = scanner
        self._taking = taking

    async def fill(self, box: BoxCard, visitor: Visitor) -> Context:
        """What the page shows: the newest transfers, by name of who asked, and the files that could go out."""
        transfers = (await self._boxes.call(self._transfers.of, box.sandbox.id))[:MOST_SHOWN]
        names = {transfer.asked_by for transfer in transfers}
        files = await self._boxes.call(self._outgoing.files, box.sandbox.id, visitor.name) if box.active else []
        return {
            "incoming": [one for one in transfers if one.direction is Direction.INCOMING],
            "outgoing": [one for one in transfers if one.direction is Direction.OUTGOING],
            "people": await self._boxes.titles(sorted(names)),
            "offered": files,
            "largest": int(self._boxes.settings.upload),
            "test_virus_only": self._scanner.only_the_test_virus,
            "packed": self._boxes.life.folders(box.sandbox.id).export.is_file(),
            "may_take": await self._boxes.call(self._taking.may, box.sandbox.id, visitor.name),
        }

    async def upload(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """Take a file in; the page tells what became of it."""
        sandbox = request.path_params["sandbox"]
        async with uploaded(request, visitor, int(self._boxes.settings.upload)) as file:
            try:
                await self._quarantine.receive(sandbox, visitor.name, file.filename or "", chunks_of(file))
            except LeerlabError as error:
                raise self._boxes.refused(error) from error
        return _back(sandbox)

    async def ask(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """Ask for a file."""
        sandbox = request.path_params["sandbox"]
        await self._boxes.call(self._outgoing.ask, sandbox, visitor.name, given.get("path", "")[:1000])
        return _back(sandbox)

    async def decide(self, request: Request, visitor: Visitor, given: dict[str, str]) -> Response:
        """A second member's answer."""
        answer = given.get("answer")
        if answer not in ("yes", "no"):
            raise Refused(400, "wrong", "Neither yes nor no.")
        transfer = await self._transfer(request)
        await self._boxes.call(
            self._outgoing.decide, transfer, visitor.name, yes=answer == "yes", reason=given.get("reason", "").strip()
        )
        return _back(request.path_params["sandbox"])

    async def fetch(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """An approved file, never shown in the browser: what is in it is somebody's own."""
        transfer = await self._transfer(request)
        fetched, file = await self._boxes.call(self._outgoing.fetch, transfer, visitor.name)
        return _download(file, fetched.name)

    async def export(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """The export of an ended sandbox."""
        folders = self._boxes.life.folders(request.path_params["sandbox"])
        file = await self._boxes.call(self._taking.fetch, folders, visitor.name)
        return _download(file, file.name)

    async def _transfer(self, request: Request) -> str:
        """The id of a transfer of this very sandbox."""
        transfer: str = request.path_params["transfer"]
        found = await self._boxes.call(self._transfers.get, transfer)
        if found.sandbox != request.path_params["sandbox"] or found.state is TransferState.CHECKING:
            raise absent()
        return transfer


def _download(file: Path, name: str) -> Response:
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "no-store",
    }
    return FileResponse(file, media_type="application/octet-stream", headers=headers)


def _back(sandbox: str) -> Response:
    return RedirectResponse(f"/sandboxes/{sandbox}?changed=1#files", 303)
