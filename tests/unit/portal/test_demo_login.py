"""One-time keys, host names and attempts of the demo login."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_IMODE

import pytest

from base.paths import State
from hub_config.login import keys
from hub_config.login.attempts import Attempts
from hub_config.login.hosts import HostRule, Hosts

HOSTS = Hosts.of("leerlab.localhost", 8000, ["sanne"], "127.0.0.1")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(tmp_path / "s")
    made.make()
    yield made


def test_a_key_admits_once(state: State) -> None:
    key = keys.mint(state)
    assert [keys.redeem(state, key), keys.redeem(state, key)] == [True, False]


def test_of_many_at_the_same_moment_one_gets_in(state: State) -> None:
    key = keys.mint(state)
    barrier, results = threading.Barrier(8), []

    def try_it() -> None:
        barrier.wait(timeout=60)
        results.append(keys.redeem(state, key))

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(results) == [False] * 7 + [True]


def test_a_key_is_worth_nothing_after_a_day_and_is_burnt_all_the_same(state: State) -> None:
    key = keys.mint(state, now=NOON)
    assert not keys.redeem(state, key, now=NOON + keys.LIFETIME)
    assert not keys.redeem(state, key, now=NOON)


def test_a_new_key_sweeps_out_the_expired_ones(state: State) -> None:
    keys.mint(state, now=NOON)
    keys.mint(state, now=NOON + timedelta(days=2))
    assert len(list((state.secrets / "login-keys").iterdir())) == 1


def test_the_state_folder_holds_no_key_and_nobody_else_can_read_it(state: State) -> None:
    key = keys.mint(state)
    folder = state.secrets / "login-keys"
    (file,) = folder.iterdir()
    assert key not in file.name + file.read_text()
    assert (S_IMODE(folder.stat().st_mode), S_IMODE(file.stat().st_mode)) == (0o700, 0o600)


@pytest.mark.attack
@pytest.mark.parametrize("key", ["", "../cookie-secret", "x" * 10_000, "sléutel", "\0", "."])
def test_what_is_no_key_admits_nobody_and_removes_nothing(state: State, key: str) -> None:
    real = keys.mint(state)
    (state.secrets / "cookie-secret").write_text("x")
    assert not keys.redeem(state, key)
    assert (state.secrets / "cookie-secret").exists()
    # Positive control: the same call with a key that was minted.
    assert keys.redeem(state, real)


def test_the_key_is_in_the_fragment_of_the_link(state: State) -> None:
    assert keys.link("http://leerlab.localhost:8000", "abc") == "http://leerlab.localhost:8000/hub/login#key=abc"


def test_a_browser_is_admitted_for_this_run_only(state: State) -> None:
    token = keys.run_token(state)
    assert keys.is_this_run(state, token) and keys.run_token(state) == token
    (state.run / "login-run").unlink()
    assert not keys.is_this_run(state, token)
    assert not keys.is_this_run(state, "")


@pytest.mark.parametrize(
    ("host", "path", "rule"),
    [
        ("leerlab.localhost:8000", "/hub/login", HostRule.ANSWER),
        ("sanne.leerlab.localhost:8000", "/user/sanne/", HostRule.ANSWER),
        ("sanne.leerlab.localhost:8000", "/hub/login", HostRule.SEND_HOME),
        ("evil.example:8000", "/hub/login", HostRule.REFUSE),
        ("evil.example:8000", "/", HostRule.REFUSE),
        ("leerlab.localhost", "/hub/login", HostRule.REFUSE),
        ("leerlab.localhost:8000.evil.example", "/hub/login", HostRule.REFUSE),
        ("jan.leerlab.localhost:8000", "/hub/login", HostRule.REFUSE),
        ("127.0.0.1:8000", "/hub/login", HostRule.REFUSE),
        ("127.0.0.1:8081", "/hub/api/user", HostRule.ANSWER),
        ("evil.example:8000", "/hub/apinot", HostRule.REFUSE),
    ],
)
def test_only_names_on_the_list_are_answered(host: str, path: str, rule: HostRule) -> None:
    assert HOSTS.rule(host, path) is rule


@pytest.mark.parametrize(
    ("bind", "alone"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("10.0.0.5", False)]
)
def test_loopback_is_recognised(bind: str, alone: bool) -> None:
    assert Hosts.of("leerlab.localhost", 8000, [], bind).on_loopback is alone


def test_after_five_wrong_keys_the_next_waits_a_minute() -> None:
    now = [100.0]
    attempts = Attempts(clock=lambda: now[0])
    for _ in range(5):
        assert attempts.wait_seconds() == 0
        attempts.wrong()
    assert attempts.wait_seconds() == 60
    now[0] += 60
    assert attempts.wait_seconds() == 0
