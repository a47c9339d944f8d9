"""The three ways in which work with Slurm fails; only one of them says anything about a job."""

from __future__ import annotations

from base.errors import InputError, LeerlabError


class SlurmError(LeerlabError):
    """Base of what a command of Slurm can raise."""


class SlurmUnavailable(SlurmError):
    """Slurm gave no answer, or none that can be understood: whatever was asked is unknown now, and nothing is dead.

    After a submission that ends so, the job may exist all the same: ask `Slurm.find` by its comment.
    """


class SlurmRefused(SlurmError):
    """Slurm answered no.

    Args:
        sentence: Slurm's own words, for the person who can act on them.
    """

    def __init__(self, what: str, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(what, f"Slurm says: {sentence}", "Ask for something that the cluster can give.")


class InvalidRequest(InputError):
    """A job request that is never shown to Slurm: one of its values could mean something else there."""
