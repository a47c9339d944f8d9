"""What the assistant's gateway adds to a model: until the first word, and to each word of twenty answers at once."""

from __future__ import annotations

import asyncio
import statistics

from bench.assistant_parts import Parts, Way, ask, running_parts
from bench.result import Result
from bench.spawn_latency import say

FIRST = "assistant-overhead"
STREAMS = "assistant-streams"
BARE = "bare back end"
STREAMS_AT_ONCE = 20
RATE = 25.0
"""Tokens in a second of each of twenty streams: 500 in all, what a small model on one large GPU gives."""
_WORDS = 100
_QUESTION = "What is a median? Answer in one sentence."
_ROUNDS = 5
"""Questions to each side in one repetition: the model's own time varies by more than what is measured."""
_WARM = 2


def run(n: int) -> Result:
    """Time to the first word with the real small model, one answer at a time.

    Args:
        n: repetitions; each is the median of some questions to each side, in turning order.
    """
    found: dict[str, list[float]] = {}
    with running_parts(None) as parts:
        ways = parts.ways(0)
        for repetition in range(-_WARM, n):
            heard: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(_ROUNDS):
                for name in _turned(list(ways), repetition + turn):
                    way, token = ways[name]
                    heard[name].append(1000 * asyncio.run(ask(way, token, 8, _QUESTION)).first)
            say(f"{FIRST}: {repetition + 1} of {n}")
            if repetition >= 0:
                for name, values in heard.items():
                    found.setdefault(name, []).append(statistics.median(values))
    more = statistics.median(found["product"]) - statistics.median(found[BARE])
    notes = (
        f"the gateway adds {more:.1f} ms (at most 10 ms are allowed); each value is the median of {_ROUNDS} questions",
        "the model is SmolLM2-135M behind llama.cpp, asked the same each time, so that its cache holds the question",
        "limit: the same model through a plain relay on a unix socket",
        "who asks is known to the gateway for five seconds; what the hub itself takes to say so is not in it",
    )
    return Result(FIRST, "ms", found.pop("product"), {BARE: found[BARE]}, found["limit"], notes)


def run_streams(n: int) -> Result:
    """Time of a word in twenty answers at one time, from a server that says words at a fixed rate.

    Args:
        n: repetitions.
    """
    found: dict[str, list[float]] = {}
    with running_parts(RATE) as parts:
        names = list(parts.ways(0))
        for repetition in range(-1, n):
            for name in _turned(names, repetition):
                pace = asyncio.run(_together(parts, name))
                if repetition >= 0:
                    found.setdefault(name, []).append(pace)
            say(f"{STREAMS}: {repetition + 1} of {n}")
    more = 100 * (statistics.median(found["product"]) / statistics.median(found[BARE]) - 1)
    notes = (
        f"the gateway adds {more:.2f} % to a word (less than 2 % is allowed)",
        f"{STREAMS_AT_ONCE} answers of {_WORDS} words at one time",
        f"the back end is no model but a real server that says {RATE:.0f} words a second to each, evenly",
        "limit: the same back end through a plain relay on a unix socket",
    )
    return Result(STREAMS, "ms a word", found.pop("product"), {BARE: found[BARE]}, found["limit"], notes)


async def _together(parts: Parts, name: str) -> float:
    """Milliseconds a word, the mean of twenty answers that begin together."""

    def way(person: int) -> tuple[Way, str]:
        return parts.ways(person)[name]

    heard = await asyncio.gather(*(ask(*way(person), _WORDS, _QUESTION) for person in range(STREAMS_AT_ONCE)))
    return 1000 * statistics.mean(one.pace for one in heard)


def _turned(names: list[str], by: int) -> list[str]:
    """Each side goes first as often as the others."""
    first = by % len(names)
    return names[first:] + names[:first]
