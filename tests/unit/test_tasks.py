from __future__ import annotations

import asyncio

import pytest

from syncer.tasks import together, unless


async def test_it_sleeps_no_longer_than_until_the_event_is_set() -> None:
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.call_soon(event.set)
    async with asyncio.timeout(5):
        await unless(event, 60)


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
async def test_it_sleeps_for_so_long(seconds: float) -> None:
    async with asyncio.timeout(5):
        await unless(asyncio.Event(), seconds)


@pytest.mark.parametrize("ticks", range(5))
async def test_a_cancellation_that_comes_as_the_sleep_ends_is_not_lost(ticks: int) -> None:
    event = asyncio.Event()

    async def work() -> None:
        while True:
            await unless(event, 60)
            event.clear()

    task = asyncio.create_task(work())
    for _ in range(3):
        await asyncio.sleep(0)
    event.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done
    assert task.cancelled()


async def test_the_first_error_ends_all_and_is_raised() -> None:
    ended = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    async def goes_on() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(KeyError):
        await together(goes_on(), fails())
    assert ended
