"""A course's library of comments: what a teacher wrote for a task once, at hand for the next student.

Kept in a table of our own in the gradebook's database, so that it is shared by the course's teachers, is in the same
backup, and lies on SQLite or PostgreSQL as the gradebook does. Text only.
"""

from __future__ import annotations

import unicodedata
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from nbgrader.api import MissingEntry
from nbgrader.server_extensions.formgrader.base import BaseApiHandler, check_xsrf
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from tornado import web

LONGEST = 2000
"""Letters of one comment."""
MOST = 200
"""Comments of one task."""
_KEPT = {"\n", "\t"}

TABLE = Table(
    "leerlab_comment",
    MetaData(),
    Column("id", String(32), primary_key=True),
    Column("assignment", String(128), nullable=False, index=True),
    Column("notebook", String(128), nullable=False),
    Column("task", String(128), nullable=False),
    Column("text", Text(), nullable=False),
    Column("used", Integer(), nullable=False),
    Column("changed", DateTime(), nullable=False),
)
"""Names of the assignment, the notebook and the cell (its grade_id), because those stay when an assignment is made
anew; how often it was used; when it was last used or changed, in UTC."""


class NotKept(ValueError):
    """A comment that cannot be kept.

    Args:
        code: `empty`, `long` or `full`, for the page to say.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Task:
    """Where a comment belongs."""

    assignment: str
    notebook: str
    name: str


@dataclass(frozen=True)
class Saved:
    """One comment of the library."""

    id: str
    task: str
    text: str
    used: int


def plain(text: object) -> str:
    """What is kept of a text: normalised, without control characters, without white space around it.

    Raises:
        NotKept: nothing is left, or it is too long.
    """
    if not isinstance(text, str):
        raise NotKept("empty")
    lines = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    kept = "".join(one for one in lines if one in _KEPT or unicodedata.category(one) not in {"Cc", "Cs"}).strip()
    if not kept:
        raise NotKept("empty")
    if len(kept) > LONGEST:
        raise NotKept("long")
    return kept


class CommentLibrary:
    """The comments of one course.

    Args:
        engine: of nbgrader's `Gradebook`; the table is made when it is not there yet.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        TABLE.metadata.create_all(engine)

    def of(self, assignment: str, notebook: str) -> list[Saved]:
        """All comments for the tasks of one notebook: the most used first, of those the newest."""
        wanted = (
            select(TABLE.c.id, TABLE.c.task, TABLE.c.text, TABLE.c.used)
            .where(TABLE.c.assignment == assignment, TABLE.c.notebook == notebook)
            .order_by(TABLE.c.used.desc(), TABLE.c.changed.desc(), TABLE.c.id)
        )
        with self._engine.connect() as connection:
            return [Saved(*row) for row in connection.execute(wanted)]

    def save(self, task: Task, text: object) -> Saved:
        """Keep a comment for a task; one that is there already is not kept twice.

        Raises:
            NotKept: it is empty, too long, or the task has as many as there can be.
        """
        kept = plain(text)
        here = (TABLE.c.assignment == task.assignment, TABLE.c.notebook == task.notebook, TABLE.c.task == task.name)
        with self._engine.begin() as connection:
            known = connection.execute(select(TABLE).where(*here, TABLE.c.text == kept)).first()
            if known is not None:
                return Saved(known.id, known.task, known.text, known.used)
            count = connection.execute(select(func.count()).select_from(TABLE).where(*here)).scalar_one()
            if count >= MOST:
                raise NotKept("full")
            made = Saved(uuid.uuid4().hex, task.name, kept, 0)
            connection.execute(
                insert(TABLE).values(
                    id=made.id, assignment=task.assignment, notebook=task.notebook, task=task.name, text=kept, used=0,
                    changed=_now(),
                )
            )  # fmt: skip
        return made

    def edit(self, comment: str, text: object) -> Saved | None:
        """Put another text in its place; what students were given stays as it was. None when it is gone.

        Raises:
            NotKept: the text is empty or too long.
        """
        return self._changed(comment, text=plain(text))

    def use(self, comment: str) -> Saved | None:
        """Count that it was used. None when it is gone."""
        return self._changed(comment, used=TABLE.c.used + 1)

    def remove(self, comment: str) -> bool:
        """Take it out; tells whether it was there."""
        with self._engine.begin() as connection:
            return bool(connection.execute(delete(TABLE).where(TABLE.c.id == comment)).rowcount)

    def _changed(self, comment: str, **values: Any) -> Saved | None:
        here = TABLE.c.id == comment
        with self._engine.begin() as connection:
            connection.execute(update(TABLE).where(here).values(changed=_now(), **values))
            row = connection.execute(select(TABLE.c.id, TABLE.c.task, TABLE.c.text, TABLE.c.used).where(here)).first()
        return Saved(*row) if row is not None else None


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class _Handler(BaseApiHandler):  # type: ignore[misc]  # nbgrader has no types
    @property
    def library(self) -> CommentLibrary:
        """The course's, made once a server."""
        found: CommentLibrary | None = self.settings.get("leerlab_comments")
        if found is None:
            found = self.settings["leerlab_comments"] = CommentLibrary(self.gradebook.engine)
        return found

    def body(self) -> dict[str, Any]:
        """The request's JSON.

        Raises:
            web.HTTPError: 400, it is no object.
        """
        given = self.get_json_body()
        if not isinstance(given, dict):
            raise web.HTTPError(400)
        return given

    def about(self, submission: object) -> tuple[str, str, set[str]]:
        """Assignment, notebook and the names of its cells, of a student's notebook.

        Raises:
            web.HTTPError: 404, there is no such notebook.
        """
        try:
            found = self.gradebook.find_submission_notebook_by_id(str(submission))
        except MissingEntry:
            raise web.HTTPError(404) from None
        names = {cell.name for cell in (*found.notebook.solution_cells, *found.notebook.task_cells)}
        return found.assignment.assignment.name, found.notebook.name, names

    def refuse(self, error: NotKept) -> None:
        """Answer 422 with what is wrong."""
        self.set_status(422)
        self.write({"code": error.code})

    def tell(self, saved: Saved | None) -> None:
        """Answer with a comment.

        Raises:
            web.HTTPError: 404, it is gone.
        """
        if saved is None:
            raise web.HTTPError(404)
        self.write(asdict(saved))


class Comments(_Handler):
    """All comments for the notebook that is being marked, and a new one."""

    @web.authenticated
    @check_xsrf
    def get(self) -> None:
        """`{"comments": [...]}` for `?submission_id=`, the most used first."""
        assignment, notebook, _ = self.about(self.get_query_argument("submission_id"))
        self.write({"comments": [asdict(saved) for saved in self.library.of(assignment, notebook)]})

    @web.authenticated
    @check_xsrf
    def post(self) -> None:
        """Save `{"submission_id", "task", "text"}`."""
        given = self.body()
        assignment, notebook, tasks = self.about(given.get("submission_id"))
        if given.get("task") not in tasks:
            raise web.HTTPError(404)
        try:
            self.tell(self.library.save(Task(assignment, notebook, str(given["task"])), given.get("text")))
        except NotKept as error:
            self.refuse(error)


class OneComment(_Handler):
    """A comment of the library."""

    @web.authenticated
    @check_xsrf
    def put(self, comment: str) -> None:
        """Change its text."""
        try:
            self.tell(self.library.edit(comment, self.body().get("text")))
        except NotKept as error:
            self.refuse(error)

    @web.authenticated
    @check_xsrf
    def delete(self, comment: str) -> None:
        """Take it out; that it was gone already is no fault."""
        self.library.remove(comment)
        self.set_status(204)


class CommentUse(_Handler):
    """That a comment was used."""

    @web.authenticated
    @check_xsrf
    def post(self, comment: str) -> None:
        """Count it."""
        self.tell(self.library.use(comment))
