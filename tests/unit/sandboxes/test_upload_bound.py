"""The largest upload is what ClamAV looks at: `leerlab check` refuses more, at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub_config.check import check

DEMO = Path(__file__).resolve().parents[3] / "hub_config/demo.yaml"


@pytest.mark.parametrize(("upload", "well"), [("1900M", True), ("1901M", False), ("2G", False), ("1T", False)])
def test_more_than_the_virus_scanner_can_look_at_is_refused_at_its_line(
    tmp_path: Path, upload: str, well: bool
) -> None:
    file = tmp_path / "site.yaml"
    text = DEMO.read_text().replace("  upload: 100M", f"  upload: {upload}")
    file.write_text(text)
    problems = check(file)
    if well:
        assert problems == []
        return
    (problem,) = problems
    assert problem.line == text.splitlines().index(f"  upload: {upload}") + 1
    assert "1900M" in str(problem)
