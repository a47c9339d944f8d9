"""Many students of the measured course: known to the hub by name and group, with their work in the exchange."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from jupyterhub import orm

from bench.graded_course import ASSIGNMENT, COURSE, Work, read_notebook, write_notebook
from bench.site import BenchSite
from grading.store import Store
from grading.tree import TreeLimits

_DATABASE_SECONDS = 60


def let_in(site: BenchSite, work: Sequence[Work]) -> None:
    """Make everybody a student of the course, as the hub writes it when somebody logs in for the first time."""
    options = {"connect_args": {"timeout": _DATABASE_SECONDS}}
    with orm.new_session_factory(f"sqlite:///{site.state.hub_database}", **options)() as session:
        name = f"nbgrader-{COURSE}"
        group = orm.Group.find(session, name)
        if group is None:
            group = orm.Group(name=name)
            session.add(group)
        for one in work:
            if orm.User.find(session, one.student) is None:
                user = orm.User(name=one.student, user_info={"title": f"{one.student.title()} de Vries"})
                session.add(user)
                group.users.append(user)
        session.commit()


def hand_in_by_exchange(site: BenchSite, work: Sequence[Work], folder: Path) -> None:
    """Put everybody's work into the exchange, as the service keeps what a student sends.

    Args:
        site: with the released assignment.
        work: of students who have not handed in before.
        folder: for files on their way.
    """
    limits = TreeLimits(total=int(site.site.grading.upload), files=site.site.grading.files)
    store = Store(site.state.exchange, limits, process=f"bench-{secrets.token_hex(4)}")
    released = store.release_of(COURSE, ASSIGNMENT)
    file = folder / f"{ASSIGNMENT}.ipynb"
    notebook = read_notebook(released.files / file.name)
    folder.mkdir()
    for one in work:
        write_notebook(one.written_into(notebook), file)
        store.submit(COURSE, ASSIGNMENT, one.student, store.incoming_copy(folder))
    file.unlink()
    folder.rmdir()
