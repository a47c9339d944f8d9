"""Slurm's reasons for a job to wait, by what they mean: squeue(1), JOB REASON CODES, and the sources of 22.05 to 25.11.

One code for all that a person can do the same about; the sentences end with what that is.
"""

from __future__ import annotations

import re

_BY_CODE = {
    "start.waiting.scheduling": "None SchedDefer FedJobLock",
    "start.waiting.preparing": "Prolog Cleaning",
    "start.waiting.resources": "Resources",
    "start.waiting.priority": "Priority",
    "start.waiting.dependency": "Dependency",
    "start.waiting.begin-time": "BeginTime",
    "start.waiting.nodes": "ReqNodeNotAvail NodeDown FrontEndDown",
    "start.waiting.closed": "PartitionDown PartitionInactive",
    "start.waiting.reservation": "Reservation",
    "start.waiting.reservation-gone": "ReservationDeleted ReservationInvalid",
    "start.waiting.held": "JobHeldUser JobHeldAdmin JobHoldMaxRequeue",
    "start.waiting.launch-failed": (
        "JobLaunchFailure SystemFailure NonZeroExitCode RaisedSignal OutOfMemory BurstBufferOperation"
    ),
    "start.waiting.never": (
        "PartitionTimeLimit PartitionNodeLimit PartitionConfig BadConstraints Constraints MaxMemPerLimit"
        " DependencyNeverSatisfied DeadLine TimeLimit InactiveLimit QOSTimeLimit AssociationTimeLimit"
    ),
    "start.waiting.not-allowed": "InvalidAccount InvalidQOS AccountNotAllowed QOSNotAllowed AccountingPolicy",
    "start.waiting.licences": "Licenses",
    "start.waiting.storage": "BurstBufferResources BurstBufferStageIn",
    "start.waiting.power": "PowerNotAvail PowerReserved",
    "start.waiting.limit": (
        "AssociationJobLimit AssociationResourceLimit QOSJobLimit QOSResourceLimit QOSUsageThreshold JobArrayTaskLimit"
    ),
}
_CODES = {reason: code for code, reasons in _BY_CODE.items() for reason in reasons.split()}

# Limits, each of a family of reasons with a resource's name in the middle; the first that fits holds.
_FAMILIES = (
    # Minutes that jobs may use in all: more of them do not come free when a job ends. Those that running jobs may still
    # need (RunMinutes) do. A group's wall time is such a sum too.
    (re.compile(r"(QOS|Assoc)Grp(?!\w*RunMin)\w*(Minutes|Wall)\w*"), "start.waiting.budget"),
    # What one job asks is more than one job may have.
    (re.compile(r"(QOS|Assoc)(Max\w*Per(Job|Node)|MaxWall|Min)\w*"), "start.waiting.never"),
    (re.compile(r"(QOS|Assoc)?Max\w*PerUser\w*|AssocMax(Jobs|SubmitJob)Limit"), "start.waiting.own-limit"),
    (re.compile(r"(QOS|Assoc)\w+|Max\w+Per(Account|User)"), "start.waiting.limit"),
)
# Where a newer Slurm, or the scheduler itself, writes a sentence in place of a word.
_SENTENCES = (
    (re.compile(r"reserved.for.maintenance", re.IGNORECASE), "start.waiting.maintenance"),
    (re.compile(r"may.be.reserved.for", re.IGNORECASE), "start.waiting.reserved"),
    (re.compile(r"nodes.required.for.job.are", re.IGNORECASE), "start.waiting.nodes"),
    (re.compile(r"launch.failed.requeued|user.env.retrieval", re.IGNORECASE), "start.waiting.launch-failed"),
    (re.compile(r"requeued?.held|held.state", re.IGNORECASE), "start.waiting.held"),
    (re.compile(r"(account|qos).not.permitted", re.IGNORECASE), "start.waiting.not-allowed"),
)
_OTHER = "start.waiting.other"
_WORD = re.compile(r"[^A-Za-z0-9_]")

UNAVAILABLE = frozenset(
    {
        "start.waiting.resources", "start.waiting.priority", "start.waiting.nodes", "start.waiting.reserved",
        "start.waiting.closed", "start.waiting.licences", "start.waiting.power", "start.waiting.never",
    }
)  # fmt: skip
"""Reasons that lie in the compute that was chosen: another choice may start although this one waits."""
TURN = frozenset({"start.waiting.resources", "start.waiting.priority", "start.waiting.scheduling"})
"""Reasons of those whose turn it is as soon as there is room: what is free now may be theirs."""
BUDGET = "start.waiting.budget"
"""GPU hours are used up: a choice without a GPU may start although this one waits."""


def word_of(reason: str) -> str:
    """Slurm's word alone, without what it adds about nodes, and without characters that no word of Slurm's has."""
    return _WORD.sub("", re.split(r"[,(]", reason.strip("() "))[0]) or "None"


def code_of(reason: str) -> str:
    """The message code of a reason.

    Args:
        reason: as squeue prints it, such as `Resources` or `ReqNodeNotAvail, UnavailableNodes:gpu01`; empty for none.
    """
    for pattern, code in _SENTENCES:
        if pattern.search(reason):
            return code
    word = word_of(reason)
    if word in _CODES:
        return _CODES[word]
    return next((code for pattern, code in _FAMILIES if pattern.fullmatch(word)), _OTHER)
