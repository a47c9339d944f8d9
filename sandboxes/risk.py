"""The self-check of a request: which risk class of the AI Act an application falls in, and why.

Source: Regulation (EU) 2024/1689 of 13 June 2024, articles 2, 5, 6, 50, annexes I and III. It is a first answer for
whoever tries something out, not legal advice; each reason names its article so that it can be looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

from base.messages import Message
from ledger.sandboxes import RiskClass


@dataclass(frozen=True)
class SelfCheck:
    """The answers of a request.

    Args:
        forbidden: manipulates or exploits people, scores their behaviour, reads emotions at work or school, or sorts
            them by their bodies (article 5).
        people: decides, or prepares decisions, about people in work, school, credit, benefits, care, justice, migration
            or policing, or runs vital infrastructure (annex III).
        preparing: does no more than a small preparatory task there, and makes no profiles of people (article 6(3)).
        product: a safety part of a machine, vehicle, medical device or other product with rules of its own (annex I).
        talks: talks with people, or makes texts, pictures, sound or film (article 50).
        personal: uses data about people.
    """

    forbidden: bool
    people: bool
    preparing: bool
    product: bool
    talks: bool
    personal: bool


@dataclass(frozen=True)
class Assessment:
    """What the self-check says.

    Args:
        risk: the class.
        reasons: why, and what follows from it; the first is the one that decided.
    """

    risk: RiskClass
    reasons: tuple[Message, ...]


def assess(check: SelfCheck) -> Assessment:
    """The risk class of an application, by its heaviest ground.

    Args:
        check: the answers.
    """
    reasons: list[Message] = []
    if check.forbidden:
        reasons.append(Message("risk.prohibited"))
    if check.product:
        reasons.append(Message("risk.high.product"))
    if check.people and not check.preparing:
        reasons.append(Message("risk.high.people"))
    if check.people and check.preparing:
        reasons.append(Message("risk.limited.preparing"))
    if check.talks:
        reasons.append(Message("risk.limited.talks"))
    risk = _class(check)
    if risk is RiskClass.MINIMAL:
        reasons.append(Message("risk.minimal"))
    if risk is not RiskClass.PROHIBITED:
        reasons.append(Message("risk.trying-out"))
    if check.personal:
        reasons.append(Message("risk.personal"))
    return Assessment(risk, tuple(reasons))


def _class(check: SelfCheck) -> RiskClass:
    if check.forbidden:
        return RiskClass.PROHIBITED
    if check.product or (check.people and not check.preparing):
        return RiskClass.HIGH
    return RiskClass.LIMITED if check.talks or check.people else RiskClass.MINIMAL
