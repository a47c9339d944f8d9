"""The exchange on disk: complete or not there, never overwritten, whatever happens meanwhile."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from grading.errors import Conflict, DiskFull, NoAttemptsLeft, NotFound, TooLarge, TooLate, WrongTree
from grading.manifest import Remembered
from grading.store import MOST_SUBMISSIONS, Deposit, Incoming, Store
from grading.terms import LatePolicy, Penalty, Rules
from grading.tree import TreeLimits, digest

LIMITS = TreeLimits(total=10_000, files=5)


def tree(**files: str) -> bytes:
    """A tree as a client sends it."""
    contents = {name.replace("__", "/").replace("_", "."): text.encode() for name, text in files.items()}
    listed = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in contents.items()
    ]
    return json.dumps({"files": listed}).encode() + b"\n" + b"".join(contents.values())


def sent(store: Store, data: bytes, step: int = 7) -> Incoming:
    """The tree taken in, in small pieces."""
    incoming = store.incoming()
    for at in range(0, len(data), step):
        incoming.writer.feed(data[at : at + step])
    return incoming


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path, LIMITS)
    made.release("alpha", "week-1", sent(made, tree(werk_ipynb="{}")), by="course-alpha")
    return made


def test_what_is_handed_in_can_be_read_back_with_its_digests(store: Store) -> None:
    deposit = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="{1}", data__a_csv="x", leeg_txt="")))
    manifest = deposit.manifest
    assert [(entry.path, entry.size) for entry in manifest.files] == [
        ("werk.ipynb", 3),
        ("data/a.csv", 1),
        ("leeg.txt", 0),
    ]
    assert (deposit.files / "data" / "a.csv").read_text() == "x"
    assert (deposit.files / "leeg.txt").read_bytes() == b""
    assert manifest.sha256 == digest(manifest.files) and manifest.size == 4
    assert manifest.notebooks == ["werk"]
    assert store.submission("alpha", "week-1", "anna", manifest.stamp) == deposit


def test_handing_in_again_keeps_what_was_handed_in_before(store: Store) -> None:
    first = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1")))
    second = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="2")))
    assert store.submissions("alpha", "week-1", "anna") == [first, second]
    assert (first.files / "werk.ipynb").read_text() == "1"


def test_the_same_sending_twice_is_one_submission(store: Store) -> None:
    first = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1")), key="k1")
    again = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1")), key="k1")
    assert again == first and len(store.submissions("alpha")) == 1


def test_a_clock_that_is_set_back_does_not_change_the_order(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 2, tzinfo=UTC)]
    store = Store(tmp_path, LIMITS, now=lambda: now[0])
    store.release("alpha", "week-1", sent(store, tree(werk_ipynb="{}")), by="course-alpha")
    first = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1")))
    now[0] = datetime(2026, 1, 1, tzinfo=UTC)
    second = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="2")))
    assert second.manifest.time > first.manifest.time
    assert store.submissions("alpha", "week-1", "anna")[-1] == second


def test_only_a_released_assignment_can_be_handed_in(store: Store) -> None:
    with pytest.raises(NotFound):
        store.submit("alpha", "week-2", "anna", sent(store, tree(werk_ipynb="1")))
    with pytest.raises(NotFound):
        store.submit("beta", "week-1", "anna", sent(store, tree(werk_ipynb="1")))


def test_a_release_is_replaced_only_on_purpose_and_can_be_taken_back(store: Store) -> None:
    with pytest.raises(Conflict):
        store.release("alpha", "week-1", sent(store, tree(werk_ipynb="2")), by="course-alpha")
    store.release("alpha", "week-1", sent(store, tree(werk_ipynb="2")), by="course-alpha", force=True)
    assert (store.release_of("alpha", "week-1").files / "werk.ipynb").read_text() == "2"
    kept = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1")))
    store.withdraw("alpha", "week-1", by="course-alpha")
    assert store.released("alpha") == []
    assert store.submissions("alpha") == [kept]
    store.release("alpha", "week-1", sent(store, tree(werk_ipynb="3")), by="course-alpha")
    assert (store.release_of("alpha", "week-1").files / "werk.ipynb").read_text() == "3"


def test_feedback_belongs_to_one_submission(store: Store) -> None:
    about = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1"))).manifest
    store.give_feedback("alpha", "week-1", "anna", about.stamp, sent(store, tree(werk_html="a")), by="course-alpha")
    store.give_feedback("alpha", "week-1", "anna", about.stamp, sent(store, tree(werk_html="b")), by="course-alpha")
    given = store.feedback("alpha", "week-1", "anna", about.stamp)
    assert given is not None and (given.files / "werk.html").read_text() == "b"
    with pytest.raises(NotFound):
        store.give_feedback("alpha", "week-1", "bram", about.stamp, sent(store, tree(werk_html="c")), by="course-alpha")


def test_who_handed_in_is_told_without_a_manifest_as_the_manifests_have_it(store: Store, tmp_path: Path) -> None:
    assert store.handed_in("alpha") == []
    store.release("alpha", "week-2", sent(store, tree(werk_ipynb="0")), by="course-alpha")
    work = (("week-1", "anna", "1"), ("week-1", "anna", "2"), ("week-1", "bram", "1"), ("week-2", "anna", "1"))
    for assignment, student, text in work:
        store.submit("alpha", assignment, student, sent(store, tree(werk_ipynb=text)))
    answered = store.submissions("alpha", "week-1", "anna")[0].manifest
    store.give_feedback("alpha", "week-1", "anna", answered.stamp, sent(store, tree(werk_html="a")), by="course-alpha")
    manifests = [deposit.manifest for deposit in store.submissions("alpha")]
    for manifest in tmp_path.rglob("manifest.json"):
        manifest.unlink()
    found = store.handed_in("alpha")
    assert [(one.assignment, one.student, one.stamp) for one in found] == [
        (one.assignment, one.student, one.stamp) for one in manifests
    ]
    assert [datetime.fromisoformat(one.stamp) for one in found] == [one.time for one in manifests]
    assert [one.feedback for one in found] == [True, False, False, False]
    assert store.handed_in("alpha", "week-2") == found[3:] and store.handed_in("beta") == []


def test_many_who_hand_in_at_once_all_succeed(store: Store) -> None:
    def hand_in(number: int) -> None:
        store.submit("alpha", "week-1", f"student-{number % 4}", sent(store, tree(werk_ipynb=str(number))))

    threads = [threading.Thread(target=hand_in, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    found = store.submissions("alpha")
    assert len(found) == 24 and len({(one.manifest.student, one.manifest.stamp) for one in found}) == 24


def _said(**changes: object) -> bytes:
    entry = {"path": "a", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()} | changes
    return json.dumps({"files": [entry]}).encode() + b"\nx"


def _empty(*paths: str) -> bytes:
    entries = [{"path": path, "size": 0, "sha256": hashlib.sha256().hexdigest()} for path in paths]
    return json.dumps({"files": entries}).encode() + b"\n"


@pytest.mark.attack
@pytest.mark.parametrize(
    "data",
    [
        _said(path="../../../alpha/released/week-1/x"), _said(path="/tmp/x"), _said(size=-1), _said(size="1"),
        _said(size=True), _said(sha256="0" * 64), _said(link="/etc/passwd"), _said(mode=511), _said(path=["a"]),
        _said() + b"more", _said()[:-1], b"[]\n", b"{}\n", b'{"files": {}}\n', b"\xff\xfe\n",
        b'{"files":[' + b"[" * 5000 + b"\n", tree(a="x") .replace(b'"a"', b'"a/../b"'),
        _empty("a", "a"),
        _empty("a", "a/b"),
        b"ustar tar archive\0" * 100,
    ],
)  # fmt: skip
def test_a_tree_that_is_not_plain_files_is_refused_whole(store: Store, tmp_path: Path, data: bytes) -> None:
    incoming = store.incoming()
    with pytest.raises((WrongTree, TooLarge)):
        incoming.writer.feed(data)
        store.submit("alpha", "week-1", "anna", incoming)
    incoming.give_up()
    assert store.submissions("alpha") == []
    assert list((tmp_path / "incoming" / "service").iterdir()) == []


@pytest.mark.attack
def test_too_much_is_refused_before_any_of_it_is_stored(store: Store, tmp_path: Path) -> None:
    incoming = store.incoming()
    with pytest.raises(TooLarge):
        incoming.writer.feed(_said(size=LIMITS.total + 1))
    assert list((incoming.folder / "files").iterdir()) == []
    with pytest.raises(TooLarge):
        store.incoming().writer.feed(tree(**{f"f{number}": "" for number in range(LIMITS.files + 1)}))
    endless = store.incoming()
    with pytest.raises(TooLarge):
        for _ in range(10_000):
            endless.writer.feed(b'{"files": [' + b" " * 100)


@pytest.mark.attack
def test_one_student_cannot_fill_the_disk_with_submissions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grading.store.MOST_SUBMISSIONS", 3)
    for number in range(3):
        store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb=str(number))))
    with pytest.raises(TooLarge):
        store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="4")))
    store.submit("alpha", "week-1", "bram", sent(store, tree(werk_ipynb="1")))
    assert MOST_SUBMISSIONS >= 100


@pytest.mark.attack
def test_a_link_in_a_local_folder_is_never_released(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "bron"
    source.mkdir()
    (source / "werk.ipynb").write_text("{}")
    store.incoming_copy(source).give_up()
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(WrongTree):
        store.incoming_copy(source)


@pytest.mark.fault
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_is_said_and_leaves_nothing_half(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    incoming = sent(store, tree(werk_ipynb="1"))
    monkeypatch.setattr(os, call, full) if call == "fsync" else monkeypatch.setattr(Path, call, full)
    with pytest.raises(DiskFull):
        store.submit("alpha", "week-1", "anna", incoming)
    monkeypatch.undo()
    incoming.give_up()
    assert store.submissions("alpha") == []
    store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1")))


@pytest.mark.fault
def test_what_was_on_its_way_when_the_service_ended_is_gone_after_its_start(store: Store, tmp_path: Path) -> None:
    cut = store.incoming()
    cut.writer.feed(tree(werk_ipynb="12345")[:-2])
    cut.writer.close()
    again = Store(tmp_path, LIMITS)
    again.clear_incoming()
    assert not (tmp_path / "incoming" / "service").exists()
    assert again.submissions("alpha") == [] and len(again.released("alpha")) == 1


@pytest.mark.attack
def test_what_one_student_hands_in_again_and_again_does_not_fill_the_memory(tmp_path: Path, store: Store) -> None:
    """A manifest of a thousand files takes close to a megabyte, and there may be two hundred of each assignment."""
    for number in range(10):
        store.submit("alpha", "week-1", "anna", sent(store, tree(a="1", b="2", c="3", d="4", e=str(number))))
    kept = Store(tmp_path, LIMITS)
    kept._manifests = Remembered(most=20)
    assert [len(one.manifest.files) for one in kept.submissions("alpha")] == [5] * 10
    assert len(kept._manifests) == 3, "of five files and one for itself each"
    # Control: with room for all of them all are kept.
    assert len(store.submissions("alpha")) == 10 and len(store._manifests) == 11


def test_one_manifest_is_remembered_however_much_it_lists(store: Store) -> None:
    remembered, folder = Remembered(most=1), store.release_of("alpha", "week-1").folder
    remembered.put(folder, store.release_of("alpha", "week-1").manifest)
    assert remembered.get(folder) == store.release_of("alpha", "week-1").manifest


def test_the_same_files_within_a_minute_are_the_same_hand_in_and_cost_no_attempt(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 2, tzinfo=UTC)]
    store = Store(tmp_path, LIMITS, now=lambda: now[0])
    store.release("alpha", "week-1", sent(store, tree(werk_ipynb="{}")), by="course-alpha")
    twice = Rules(attempts=2)

    def hand_in(text: str, key: str = "") -> Deposit:
        return store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb=text)), key=key, rules=twice)

    first = hand_in("1", key="k")
    now[0] += timedelta(seconds=59)
    assert hand_in("1", key="other") == first
    second = hand_in("2")
    assert (second.manifest.attempt, second.manifest.attempts) == (2, 2)
    # A click too many on the last attempt gives the same receipt, and so does sending that again.
    assert hand_in("2") == second and hand_in("1", key="k") == first
    for text in ("3", "1"):
        store.must_be_taken_in("alpha", "week-1", "anna", key="", rules=twice)  # it may yet be the same files
        with pytest.raises(NoAttemptsLeft):
            hand_in(text)
    now[0] += timedelta(minutes=1)
    with pytest.raises(NoAttemptsLeft):
        store.must_be_taken_in("alpha", "week-1", "anna", key="", rules=twice)
    with pytest.raises(NoAttemptsLeft):
        hand_in("2")
    assert store.submissions("alpha", "week-1", "anna") == [first, second]


def test_what_comes_too_late_is_not_kept_and_what_is_late_says_so(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 2, tzinfo=UTC)]
    store = Store(tmp_path, LIMITS, now=lambda: now[0])
    store.release("alpha", "week-1", sent(store, tree(werk_ipynb="{}")), by="course-alpha")
    late = LatePolicy(days=2, penalty=Penalty.PER_DAY, percent=10)
    rules = Rules(due=datetime(2026, 1, 1, tzinfo=UTC), late=late)
    kept = store.submit("alpha", "week-1", "anna", sent(store, tree(werk_ipynb="1")), rules=rules).manifest
    assert (kept.late_seconds, kept.percent_off, kept.attempt) == (86400, 10, 1)
    now[0] = datetime(2026, 1, 3, 0, 0, 1, tzinfo=UTC)
    with pytest.raises(TooLate):
        store.must_be_taken_in("alpha", "week-1", "bram", key="", rules=rules)
    with pytest.raises(TooLate):
        store.submit("alpha", "week-1", "bram", sent(store, tree(werk_ipynb="1")), rules=rules)
    assert store.submissions("alpha", "week-1", "bram") == []


@pytest.mark.fault
def test_giving_up_a_file_that_the_disk_has_no_room_for_says_nothing_more(store: Store) -> None:
    incoming = sent(store, tree(werk_ipynb="1" * 100)[:-50], step=10)

    class Full:
        def close(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert incoming.writer._file is not None
    incoming.writer._file.close()
    incoming.writer._file = Full()  # type: ignore[assignment]
    incoming.give_up()
    assert not incoming.folder.exists()
