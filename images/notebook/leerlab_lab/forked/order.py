"""What is asked of a zygote: one kernel, with its home and its limits."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

LARGEST_ORDER = 2**16


@dataclass(frozen=True)
class Order:
    """What is asked of one kernel.

    Args:
        home: its home outside its wall; what lies beside it is not there inside.
        folder: where it starts, inside.
        environment: variables beside those that all have.
        walled: whether it is behind a wall of its own. Without one it is no safer than what asks for it, as for a
            teacher who tries a course in a lab; `home` and `folder` are then as they are outside.
        tmp, shm, processes, open_files, file_size, data: as `confinement.nested.Nest`.
    """

    home: str
    folder: str
    environment: dict[str, str]
    tmp: int
    shm: int
    processes: int
    open_files: int
    file_size: int
    data: int
    walled: bool = True

    def to_json(self) -> bytes:
        """As one message."""
        return json.dumps(asdict(self)).encode()
