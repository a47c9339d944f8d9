"""One start of one server: what the hub must remember to find its job again, also after it was killed."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from spawners.settings import Profile

ENDED_KEPT = 20
"""How many ended starts one server remembers, so that jobs of theirs that turn up later are cancelled."""

_ID = re.compile(r"[0-9a-f]{16}")
_COMMENT = re.compile(r"([0-9a-f]{12}):([0-9a-f]{16})(?::([1-9][0-9]{0,9}))?")


def hashed(secret: str) -> str:
    """SHA-256 of a start secret: random secrets of 256 bits need no slower hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class Start:
    """What is stored of a start. No field of it is secret.

    Args:
        id: random, 16 hexadecimal digits; names the job's folder and is half of its comment.
        secret_hash: `hashed` secret with which the job reports its port.
        token: id of the server's API token in the hub's database; None when there is none.
        profile: id of the profile.
        requested: when the person asked for it.
        attempted: when `sbatch` was called.
        submitted: when Slurm had told the job's id: a look at the queue before this moment proves nothing about it.
        job: Slurm's job id; None until Slurm told it.
        host: host of the server, from Slurm; None until known.
        port: port that the job reported; None before.
        time: seconds that its profile gives it; 0 in what an earlier version stored.
        step: seconds by which its owner may lengthen that, by the profile as it was at the start.
        steps: how often.
        lengthened: how often that was done.
        uid: number of the unix account as which its job runs; None: the site's own.
        tls: whether its server is offered behind TLS.
    """

    id: str
    secret_hash: str
    token: int | None
    profile: str
    requested: datetime
    attempted: datetime
    submitted: datetime | None = None
    job: int | None = None
    host: str | None = None
    port: int | None = None
    time: int = 0
    step: int = 0
    steps: int = 0
    lengthened: int = 0
    uid: int | None = None
    tls: bool = False

    @classmethod
    def new(cls, profile: str, token: int | None, requested: datetime) -> tuple[Start, str]:
        """A start with a random id, and its secret, which is kept nowhere but in the job."""
        secret = secrets.token_urlsafe(32)
        return cls(secrets.token_hex(8), hashed(secret), token, profile, requested, utcnow()), secret

    def lasting(self, profile: Profile) -> Start:
        """The start with the time that its profile gives, and how far that may be lengthened."""
        extend = profile.extend
        return replace(
            self,
            time=round(profile.time.total_seconds()),
            step=round(extend.by.total_seconds()) if extend else 0,
            steps=extend.most if extend else 0,
        )

    def with_job(self, job: int) -> Start:
        """The start once Slurm has told the job's id."""
        return replace(self, job=job, submitted=utcnow())

    def comment(self, hub: str) -> str:
        """The comment of its job in Slurm: `<hub id>:<start id>`, and the account's number if it is not the site's."""
        return f"{hub}:{self.id}" if self.uid is None else f"{hub}:{self.id}:{self.uid}"

    @property
    def origin(self) -> str | None:
        """Where the hub reaches its server: scheme, host and port; None until all is known."""
        if self.host is None or self.port is None:
            return None
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def is_secret(self, secret: str) -> bool:
        """Whether this is the secret, in a time that does not depend on where it differs."""
        return hmac.compare_digest(hashed(secret), self.secret_hash)

    def to_state(self) -> dict[str, Any]:
        """As JSON for JupyterHub's database."""
        state = asdict(self)
        for name in ("requested", "attempted", "submitted"):
            state[name] = state[name].isoformat() if state[name] else None
        return state

    @classmethod
    def from_state(cls, state: object) -> Start | None:
        """What `to_state` gave; None for anything else, such as the state of another spawner class."""
        if not isinstance(state, Mapping) or not _ID.fullmatch(str(state.get("id"))):
            return None
        try:
            return cls(
                id=str(state["id"]),
                secret_hash=str(state["secret_hash"]),
                token=_whole(state["token"]),
                profile=str(state["profile"]),
                requested=datetime.fromisoformat(state["requested"]),
                attempted=datetime.fromisoformat(state["attempted"]),
                submitted=datetime.fromisoformat(state["submitted"]) if state["submitted"] else None,
                job=_whole(state["job"]),
                host=str(state["host"]) if state["host"] else None,
                port=_whole(state["port"]),
                uid=_whole(state.get("uid")),
                tls=bool(state.get("tls")),
                **{name: int(state.get(name, 0)) for name in ("time", "step", "steps", "lengthened")},
            )
        except (KeyError, TypeError, ValueError):
            return None


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def utcnow() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


def uid_of(comment: str | None) -> int | None:
    """Number of the unix account that a job's comment names; None: the site's own, or it is not one of ours."""
    match = _COMMENT.fullmatch(comment or "")
    return int(match[3]) if match and match[3] else None


def of_comment(comment: str | None) -> tuple[str, str] | None:
    """Hub id and start id of a job's comment; None when it is not one of ours."""
    match = _COMMENT.fullmatch(comment or "")
    return (match[1], match[2]) if match else None


def ended_in(state: object) -> list[str]:
    """The ids of starts that a stored state says have ended."""
    ended = state.get("ended") if isinstance(state, Mapping) else None
    return [each for each in ended if isinstance(each, str) and _ID.fullmatch(each)] if isinstance(ended, list) else []
