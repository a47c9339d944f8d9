"""Sessions: random ids, bounded in number and in time."""

from __future__ import annotations

from portal.sessions import Sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_found_by_its_id_alone() -> None:
    sessions = Sessions()
    one, other = sessions.open("sanne", "t1"), sessions.open("jelmer", "t2")
    assert sessions.of(one.id) is one and sessions.of(other.id) is other
    assert len({one.id, other.id, one.csrf, other.csrf}) == 4 and min(len(one.id), len(one.csrf)) >= 43
    assert sessions.of("sanne") is None and sessions.of("") is None


def test_the_token_shows_in_no_log_of_the_session() -> None:
    session = Sessions().open("sanne", "a-secret-token")
    assert "a-secret-token" not in repr(session) and session.csrf not in repr(session)


def test_an_unused_session_ends_and_use_keeps_it() -> None:
    clock = Clock()
    sessions = Sessions(idle=10, longest=25, clock=clock)
    used, unused = sessions.open("sanne", "a"), sessions.open("sanne", "b")
    clock.now = 9
    assert sessions.of(used.id)
    clock.now = 11
    assert sessions.of(used.id) and sessions.of(unused.id) is None
    clock.now = 20
    assert sessions.of(used.id)
    clock.now = 26
    assert sessions.of(used.id) is None, "no session lives for ever"


def test_somebody_who_logs_in_often_pushes_out_only_themselves() -> None:
    sessions = Sessions(most=10, most_of_one=3)
    kept = sessions.open("jelmer", "x")
    often = [sessions.open("sanne", str(number)) for number in range(50)]
    assert sessions.of(kept.id)
    assert [session.token for session in often if sessions.of(session.id)] == ["47", "48", "49"]
    assert len(sessions) == 4


def test_the_number_of_sessions_is_bounded_and_the_longest_unused_makes_way() -> None:
    sessions = Sessions(most=3)
    all_ = [sessions.open(f"person{number}", "t") for number in range(3)]
    sessions.of(all_[0].id)
    sessions.open("new", "t")
    assert len(sessions) == 3 and sessions.of(all_[0].id) and sessions.of(all_[1].id) is None


def test_a_closed_session_is_gone() -> None:
    sessions = Sessions()
    session = sessions.open("sanne", "t")
    sessions.close(session.id)
    sessions.close(session.id)
    assert sessions.of(session.id) is None
