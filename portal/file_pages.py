"""What goes into and out of a sandbox, as its page shows it: sending in, asking out, an answer, fetching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from base.errors import LeerlabError
from ledger.sandboxes import SandboxState
from ledger.transfers import Direction, TransferLedger, TransferState
from portal.boxes import BoxCard, Boxes
from portal.errors import Refused, absent
from portal.forms import chunks_of, uploaded
from portal.pages import Context
from portal.people import Visitor
from sandboxes.airlock.clamav import Scanner
from sandboxes.airlock.leaving import Leaving
from sandboxes.airlock.outgoing import MOST_SHOWN as MOST_FILES
from sandboxes.airlock.outgoing import Outgoing, too_long_ago
from sandboxes.airlock.quarantine import Quarantine
from sandboxes.taking import Export, Taking

MOST_SHOWN = 30
NO_EXPORT = Export(None, frozenset(), ())


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
        outgoing = [one for one in transfers if one.direction is Direction.OUTGOING]
        export = NO_EXPORT
        if box.sandbox.state is SandboxState.ENDING:
            export = await self._boxes.call(self._taking.export, box.sandbox.id)
        return {
            "incoming": [one for one in transfers if one.direction is Direction.INCOMING],
            "outgoing": outgoing,
            "too_old": {one.id for one in outgoing if too_long_ago(one)},
            "people": await self._boxes.titles(sorted(names)),
            "offered": files,
            "most_offered": MOST_FILES if len(files) >= MOST_FILES else 0,
            "largest": int(self._boxes.settings.upload),
            "test_virus_only": self._scanner.only_the_test_virus,
            "packed": export.sha256 is not None,
            "may_take": export.may_leave_with(visitor.name),
            "released": visitor.name in export.agreed,
            "alone": len(export.members) < 2,
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
        path = given.get("path", "")[:1000]
        await self._boxes.call_long(sandbox, self._outgoing.ask, sandbox, visitor.name, path)
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
        sandbox, transfer = request.path_params["sandbox"], await self._transfer(request)
        fetched, leaving = await self._boxes.call_long(sandbox, self._outgoing.fetch, transfer, visitor.name)
        return Download(leaving, fetched.name)

    async def export(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """The export of an ended sandbox."""
        sandbox = request.path_params["sandbox"]
        folders = self._boxes.life.folders(sandbox)
        leaving = await self._boxes.call_long(sandbox, self._taking.fetch, folders, visitor.name)
        return Download(leaving, folders.export.name)

    async def release(self, request: Request, visitor: Visitor, _given: dict[str, str]) -> Response:
        """A member's yes to the export of an ended sandbox, for the others."""
        sandbox = request.path_params["sandbox"]
        await self._boxes.call(self._taking.release, sandbox, visitor.name)
        return _back(sandbox)

    async def _transfer(self, request: Request) -> str:
        """The id of a transfer of this very sandbox."""
        transfer: str = request.path_params["transfer"]
        found = await self._boxes.call(self._transfers.get, transfer)
        if found.sandbox != request.path_params["sandbox"] or found.state is TransferState.CHECKING:
            raise absent()
        return transfer


class Download(StreamingResponse):
    """A file that is open already, and is never shown in the browser: what is in it is somebody's own.

    Args:
        leaving: the file that was checked; closed at the end, however that comes.
        name: for the person who gets it.
    """

    def __init__(self, leaving: Leaving, name: str) -> None:
        self._leaving = leaving
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "Content-Length": str(leaving.size),
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "no-store",
        }
        super().__init__(self._pieces(), media_type="application/octet-stream", headers=headers)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Each is compared in a thread before it goes out: a large file keeps no page waiting."""
        pieces = self._leaving.pieces()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._leaving:
            await super().__call__(scope, receive, send)


def _back(sandbox: str) -> Response:
    return RedirectResponse(f"/sandboxes/{sandbox}?changed=1#files", 303)
