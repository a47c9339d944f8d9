"""Claims: their bounds, what the rules of site.yaml make of them, and what to call a person."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from hub_config.login.refusals import LoginRefused, Reason
from hub_config.login.settings import Operator, RuleSettings

MOST_CLAIMS = 100
MOST_ELEMENTS = 1000
LONGEST_TEXT = 4096
LONGEST_SUBJECT = 255
"""OpenID Connect Core 1.0, section 2: `sub` has at most 255 ASCII characters."""
LONGEST_TITLE = 80
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
"""What Debian allows as the name of an account, and `.`, which directories use (useradd(8))."""


def bounded(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims, when there are not too many and none is too long.

    Raises:
        LoginRefused: there are, or one is.
    """
    if len(claims) > MOST_CLAIMS:
        raise LoginRefused(Reason.TOO_LARGE)
    for name, value in claims.items():
        elements = value if isinstance(value, list) else [value]
        if len(name) > LONGEST_TEXT or len(elements) > MOST_ELEMENTS:
            raise LoginRefused(Reason.TOO_LARGE)
        if any(isinstance(element, str) and len(element) > LONGEST_TEXT for element in elements):
            raise LoginRefused(Reason.TOO_LARGE)
    return claims


def subject_of(claims: Mapping[str, Any]) -> str:
    """The provider's own id of the person.

    Raises:
        LoginRefused: there is none that can be one.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.strip() or len(subject) > LONGEST_SUBJECT:
        raise LoginRefused(Reason.SUBJECT)
    if not subject.isascii() or not subject.isprintable():
        raise LoginRefused(Reason.SUBJECT)
    return subject


def groups_of(claims: Mapping[str, Any], rules: Iterable[RuleSettings]) -> tuple[str, ...]:
    """The groups that a person's claims give, sorted; a claim that is absent or of another type gives none."""
    return tuple(sorted({group for rule in rules if fits(claims.get(rule.claim), rule) for group in rule.groups}))


def fits(claim: Any, rule: RuleSettings) -> bool:
    """Whether a claim is what a rule asks for.

    Args:
        claim: its value; None when it is absent.
        rule: the rule.
    """
    elements = [element for element in claim if isinstance(element, str)] if isinstance(claim, list) else None
    if rule.operator is Operator.EXISTS:
        return bool(claim.strip()) if isinstance(claim, str) else bool(elements)
    if rule.value is None:
        return False
    if rule.operator is Operator.EQUALS:
        return isinstance(claim, str) and claim == rule.value
    if rule.operator is Operator.CONTAINS:
        return elements is not None and rule.value in elements
    texts = elements if elements is not None else [claim] if isinstance(claim, str) else []
    return any(text.startswith(rule.value) for text in texts)


def title_of(claims: Mapping[str, Any], otherwise: str) -> str:
    """What pages call a person: the name that the provider gives, without what could disturb a page.

    Args:
        claims: of the provider.
        otherwise: when it gives no name.
    """
    parts = [claims.get("name")]
    if not isinstance(parts[0], str) or not parts[0].strip():
        parts = [claims.get("given_name"), claims.get("family_name")]
    text = " ".join(part for part in parts if isinstance(part, str))
    # Category C: control characters, and those that turn the direction of text around.
    plain = "".join(letter for letter in text if not unicodedata.category(letter).startswith("C"))
    return " ".join(plain.split())[:LONGEST_TITLE].strip() or otherwise


def account_of(claims: Mapping[str, Any], name: str | None) -> str | None:
    """The unix account that a claim names, as a text or as the one element of a list; None: none, or nothing usable.

    Args:
        claims: of userinfo.
        name: of the claim; None: no claim names accounts.
    """
    value = claims.get(name) if name is not None else None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) and _ACCOUNT.fullmatch(value) else None
