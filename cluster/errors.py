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


class NotOurs(SlurmRefused):
    """Something in Slurm has a name that Leerlab needs, and was made by others: it is left as it is.

    Args:
        what: what it is, such as `account`.
        name: its name.
    """

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"The {what} {name} in Slurm was not made by Leerlab, which needs one of that name.", "")
        self.sentence = self.what
        self.means, self.do = "It was left as it is.", f"Let an administrator of Slurm rename or remove it ({what})."
        self.args = (" ".join((self.what, self.means, self.do)),)


class InvalidRequest(InputError):
    """A job request that is never shown to Slurm: one of its values could mean something else there."""
