"""Few questions of one person at a time; a model's turns first come, first served, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from assistant.errors import Refusal
from assistant.turns import People, Turns


def test_a_person_has_two_questions_open_and_others_their_own() -> None:
    people = People(2)
    with people.one_more("anna"), people.one_more("anna"):
        with pytest.raises(Refusal) as refused, people.one_more("anna"):
            pass
        assert (refused.value.status, refused.value.code) == (429, "busy")
        with people.one_more("bram"):
            pass
    with people.one_more("anna"):
        pass


async def test_who_waits_gets_the_next_turn_in_order() -> None:
    turns, order = Turns(1), list[int]()

    async def ask(number: int) -> None:
        async with turns.turn():
            order.append(number)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(ask(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_too_many_or_too_long_is_busy_and_leaves_every_turn() -> None:
    turns = Turns(1, waiting=1, seconds=0.05)
    async with turns.turn():
        waiting = asyncio.create_task(turns.turn().__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(Refusal):
            async with turns.turn():
                pass
        with pytest.raises(Refusal):
            await waiting
    async with turns.turn():
        pass


async def test_who_goes_away_while_waiting_takes_no_turn() -> None:
    turns = Turns(1)
    async with turns.turn():
        waiting = asyncio.create_task(turns.turn().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(1), turns.turn():
        pass
