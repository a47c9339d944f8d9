"""The part of the spawner that remembers: one start, stored before anything happens, and those that ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy
from batchspawner import SlurmSpawner

from base.messages import Message
from spawners import report, server_token
from spawners.change import Change
from spawners.facility import Facility
from spawners.orphans import Sweep
from spawners.starts import ENDED_KEPT, Start, ended_in

if TYPE_CHECKING:
    from spawners.adoption import Adoption


class RememberingSpawner(SlurmSpawner):  # type: ignore[misc]  # batchspawner has no types
    """State of one server: what is stored, what is forgotten, and the report that changes it."""

    facility: ClassVar[Facility]
    """Set by hub_config before the hub starts."""
    sweep: ClassVar[Sweep]

    _start: Start | None = None
    _ended: tuple[str, ...] = ()
    _failure: Message | None = None
    _submission: asyncio.Task[int] | None = None
    _adoption: Adoption | None = None
    _unseen = False

    def __init__(self, **kwargs: Any) -> None:
        self._change = Change()
        super().__init__(**kwargs)

    @property
    def _session(self) -> Any:
        return sqlalchemy.inspect(self.orm_spawner).session

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what the hub's database says, after a restart of the hub."""
        super().load_state(state)
        self._ended = tuple(ended_in(state))
        self._start = Start.from_state(state.get("start"))
        if self._start is not None and self._start.id not in self._ended:
            self._unseen = True
            self._expect_report()

    def get_state(self) -> dict[str, Any]:
        """What to store: the start, and which starts of this server have ended. Nothing in it is secret."""
        state: dict[str, Any] = super().get_state()
        if self._start is not None:
            state["start"] = self._start.to_state()
        if self._ended:
            state["ended"] = list(self._ended)
        return state

    def clear_state(self) -> None:
        """Forget the start; that it has ended stays known."""
        super().clear_state()
        if self._start is not None:
            self._end()
        self._start = None
        self._submission = None
        self._change.announce()
        if self._adoption is not None:
            self._adoption.cleared(self._failure)

    def _keep(self, start: Start) -> None:
        """Commit the start, so that it survives the hub from here on."""
        self._start = start
        self.job_id = "" if start.job is None else str(start.job)
        self._commit()
        self._change.announce()

    def _commit(self) -> None:
        # A new dict: the column does not see changes inside one (SQLAlchemy, mutation tracking).
        self.orm_spawner.state = self.get_state()
        self._session.commit()

    def _end(self) -> None:
        """This start has ended, whatever its job does: no report, no token, and the sweep may cancel the job."""
        start = self._start
        if start is None or start.id in self._ended:
            return
        report.EXPECTED.pop(start.id, None)
        self._ended = (*self._ended, start.id)[-ENDED_KEPT:]
        type(self).sweep.ended.add(start.id)
        server_token.revoke(self._session, start.token, self.user.orm_user)
        self._commit()

    def _expect_report(self) -> None:
        start = self._start
        if start is not None:
            certify = self._certify if start.tls else None
            report.EXPECTED[start.id] = report.Expected(start.is_secret, self._accept, start.port, certify)

    async def _certify(self) -> Mapping[str, str] | None:
        """The certificate for the server of the present start; None while its node is not known."""
        raise NotImplementedError

    def _accept(self, port: int) -> bool:
        """Store the port that the job reported, unless another server or the hub itself has it."""
        start = self._start
        if start is None or port in self.facility.reserved_ports:
            return False
        self._keep(replace(start, port=port))
        return True
