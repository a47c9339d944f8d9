"""The command line: help everywhere, exit codes, what is wrong use, and how errors read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from base.errors import InputError, LeerlabError
from cli.development import _beside, _exit_code, _not_plain

CODE = Path(__file__).resolve().parents[3]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=CODE, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["up"],
        ["down"],
        ["status"],
        ["doctor"],
        ["key"],
        ["check"],
        ["schema"],
        ["test"],
        ["lint"],
        ["sandbox", "list"],
        ["sandbox", "erase"],
        ["sandbox", "verify"],
        ["ledger", "list"],
        ["ledger", "verify"],
        ["ledger", "use"],
    ],
)
def test_every_command_has_help(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.returncode == 0
    assert "Usage" in result.stdout


def test_an_unknown_command_is_wrong_use() -> None:
    assert run("fly").returncode == 2


def test_a_site_file_that_does_not_exist_is_wrong_input_and_named() -> None:
    for command in (["up", "--site"], ["down", "--site"], ["check"]):
        result = run(*command, "/nonexistent/site.yaml")
        assert result.returncode == 2
        assert "/nonexistent/site.yaml" in result.stderr and "Traceback" not in result.stderr


def test_a_site_file_is_relative_to_where_the_launcher_was_started(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes((CODE / "hub_config/demo.yaml").read_bytes())
    assert run("check", "own.yaml", LEERLAB_CWD=str(tmp_path)).returncode == 0
    assert run("check", "own.yaml").returncode == 2


def test_a_file_that_the_account_may_not_read_is_said_to_be_so(tmp_path: Path) -> None:
    closed = tmp_path / "site.yaml"
    closed.write_bytes((CODE / "hub_config/demo.yaml").read_bytes())
    closed.chmod(0)
    result = run("up", "--site", str(closed))
    assert result.returncode == 2
    assert str(closed) in result.stderr and "may not read it" in result.stderr


def test_without_the_launcher_the_error_says_to_use_it() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEERLAB_")}
    result = subprocess.run(
        [sys.executable, "-m", "cli", "status"], cwd=CODE, env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "./leerlab" in result.stderr and "Traceback" not in result.stderr


def test_the_schema_is_json() -> None:
    assert json.loads(run("schema").stdout)["type"] == "object"


def test_errors_are_three_sentences_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    from cli.output import complain

    complain(LeerlabError("It broke.", "Nobody can work.", "Mend it."))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.strip() for line in err.splitlines()] == ["leerlab: It broke.", "Nobody can work.", "Mend it."]
    assert issubclass(InputError, LeerlabError)


def test_exit_codes_of_pytest_become_ours() -> None:
    assert _exit_code([0, 0]) == 0
    assert _exit_code([0, 1]) == 1
    assert _exit_code([5]) == 1, "no test at all is no success"
    assert _exit_code([0, 4]) == 2


def test_what_runs_beside_the_tests_is_printed_whole_after_them_and_its_failure_counts(
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = "import sys, time; print('from beside', flush=True); time.sleep(0.5); print('its end'); sys.exit(3)"
    with _beside([sys.executable, "-c", program]) as ended:
        print("the tests", flush=True)  # noqa: T201
        assert ended() == 3
    assert capfd.readouterr().out == "the tests\nfrom beside\nits end\n"
    with _beside(None) as ended:
        assert ended() == 0


@pytest.mark.fault
def test_what_runs_beside_tests_that_are_broken_off_is_told_to_end() -> None:
    program = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('taken down')"
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), _beside([sys.executable, "-c", program]):
        time.sleep(1)
        raise KeyboardInterrupt
    assert time.monotonic() - begin < 30


def test_links_and_devices_do_not_come_back_with_the_build_output(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    assert sorted(_not_plain(str(tmp_path), [path.name for path in tmp_path.iterdir()])) == ["link", "pipe"]


def test_a_command_waits_for_no_library_that_only_the_hub_needs() -> None:
    """Those take seconds to import; `leerlab status` is asked for by somebody in a hurry."""
    heavy = "jupyterhub", "oauthenticator", "jsonschema", "nbgrader", "nbconvert", "pandas"
    code = f"import sys, cli.commands; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=CODE, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"
