"""The section `confinement:` of site.yaml: how much one walled process tree may use beside its Slurm job's limits."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field

from base.quantities import Size
from confinement.wall import Limits


class ConfinementSettings(BaseModel):
    """Sizes and limits of every wall on this site; memory, cores and time come from the profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tmp: Annotated[Size, Ge(16 * 2**20), Le(2**40)] = Field(
        default=Size(256 * 2**20), description="Size of /tmp inside; it counts as memory of the job."
    )
    shm: Annotated[Size, Ge(16 * 2**20), Le(2**40)] = Field(
        default=Size(64 * 2**20),
        description="Size of /dev/shm inside, which data loaders with workers use; it counts as memory of the job.",
    )
    processes: int = Field(
        default=512, ge=32, le=65536, description="Most processes and threads at one time inside one wall, together."
    )
    open_files: int = Field(default=4096, ge=256, le=1048576, description="Most open files of one process inside.")
    file_size: Annotated[Size, Ge(2**20), Le(2**44)] = Field(
        default=Size(2 * 2**30), description="Largest file that a process inside can write."
    )

    @property
    def limits(self) -> Limits:
        """The limits as the wall takes them."""
        return Limits(processes=self.processes, open_files=self.open_files, file_size=int(self.file_size))

    def sizes(self) -> dict[str, Any]:
        """`tmp`, `shm` and `limits`: the arguments of `Wall` that these settings decide."""
        return {"tmp": int(self.tmp), "shm": int(self.shm), "limits": self.limits}
