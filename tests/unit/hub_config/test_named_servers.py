"""How many servers with a name somebody may have: JupyterHub's own 0 would mean as many as they like."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tornado.web import HTTPError

from cluster.limits import GroupLimits
from hub_config.named_servers import allowed, limit

LIMITS = [GroupLimits(id="a", groups=("students",)), GroupLimits(id="b", named_servers=2)]


@pytest.mark.parametrize(
    ("person", "groups", "count"),
    [("sanne", ["students"], 0), ("docent", [], 2), ("course-les", [], 0), ("box-aaaaaaaa-mila", ["companies"], 0)],
)
def test_by_group_and_never_for_accounts_of_courses_and_sandboxes(person: str, groups: list[str], count: int) -> None:
    assert allowed(LIMITS, person, groups) == count
    assert allowed([], person, groups) == 0


def handler(*path: str | None, groups: tuple[str, ...] = ()) -> SimpleNamespace:
    """A request for a path, to a hub where everybody is in these groups."""
    found = [SimpleNamespace(name=group) for group in groups]
    return SimpleNamespace(path_args=path, find_user=lambda name: SimpleNamespace(name=name, groups=found))


def test_the_owner_of_the_server_counts_and_not_who_asks() -> None:
    of = limit(LIMITS)
    assert of(handler("docent", "gpu")) == 2
    for path, groups in ((("sanne", "gpu"), ("students",)), (("course-les", "gpu"), ())):
        with pytest.raises(HTTPError) as refused:
            of(handler(*path, groups=groups))
        assert refused.value.status_code == 403


@pytest.mark.attack
@pytest.mark.parametrize("name", ["GPU", "..", "a/b", "a b", "-a", "a" * 21, "a\n", "1"])
def test_a_name_that_is_no_plain_word_is_refused_before_anything_is_stored(name: str) -> None:
    with pytest.raises(HTTPError) as refused:
        limit(LIMITS)(handler("docent", name))
    assert refused.value.status_code == 400


def test_pages_that_only_show_servers_are_not_refused() -> None:
    assert limit(LIMITS)(handler()) == 1
    assert limit([])(handler(None)) == 1
