"""The examples of the reference of profiles are site.yaml that can be used as they stand."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from hub_config.check import check, load

CODE = Path(__file__).resolve().parents[3]
REST = """\
site: {name: proef}
login:
  kind: demo
  people: [{name: docent, title: Docent, groups: [formgrade-machine-learning]}]
courses:
  - {id: machine-learning, folder: hbo/machine-learning, profile: kwart, released: [vraagvoorspelling]}
  - {id: ai-in-je-vak, folder: mbo/ai-in-je-vak, profile: kwart, released: [herken-ai]}
grading: {profile: kwart}
"""


def test_the_examples_have_no_problems(tmp_path: Path) -> None:
    page = (CODE / "docs/reference/profiles.md").read_text()
    first, lesson, limits = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "site.yaml"
    file.write_text(REST + first + textwrap.indent(textwrap.dedent(lesson), "  ") + limits)
    assert [str(problem) for problem in check(file)] == []
    site = load(file)
    assert [profile.id for profile in site.profiles] == ["kwart", "deel", "heel", "les"]
    assert [one.named_servers for one in site.limits] == [1, 3]
