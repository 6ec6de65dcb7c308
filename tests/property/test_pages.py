"""The topic of pages: whatever happens on the wikis, and whoever dies when, at every mark it is the hub's store, exactly."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest

from syncer.config import MirrorSettings, PublishSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.enrich import pages as pages_module
from syncer.journal import Topic, latest
from syncer.mirror import Mirror, from_pages
from syncer.mirror.from_pages import FromPages
from syncer.model import Kind
from syncer.pages import MARK_KEY, Mark
from syncer.store import Store
from syncer.wire import decode_mutation
from tests.inprocess import Rig, Trouble
from tests.property.test_hub import EVERYTHING, HARD, Scenario, live, seeds, settle_down
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from syncer.journal import Journal, Stored
    from tests.virtual import Clock

KEPT, NOT_KEPT = PublishSettings(pages=True), PublishSettings(pages=False)
Facts = dict[str, Any]


def facts(store: Store) -> Facts:
    """Every page that lives, with all that is known of it."""
    return {
        f"{wiki_id}:{state.page_id}": (state.title, state.namespace, state.is_redirect, state.seq, state.revision,
                                       state.attribution, store.text(wiki_id, state.page_id))
        for wiki_id in store.wikis() for _, state in store.pages(wiki_id)
    }  # fmt: skip


async def told(rig: Rig, partition: int) -> tuple[Facts, Mark | None]:
    """What the topic says of a partition, and up to where."""
    newest = await latest(rig.journal, Topic.PAGES, partition)
    mark = newest.pop(MARK_KEY, None)
    found: Facts = {}
    for key, record in newest.items():
        if not record.value:
            continue
        page = decode_mutation(record.value)
        assert (page.kind, page.gap, record.headers["wiki"]) == (Kind.SNAPSHOT, True, page.wiki_id)
        assert key == f"{page.wiki_id}:{page.page.page_id}"
        found[key] = (page.page.title or None, page.page.namespace, page.page.is_redirect, page.seq, page.revision,
                      page.attribution, page.text)  # fmt: skip
    return found, Mark.decode(mark.value) if mark and mark.value else None


async def folded(rig: Rig, partition: int, to: int) -> Facts:
    """A store that has exactly the mutations of a partition up to there, as whoever followed from the start."""
    path = rig.folder / f"folded {partition} {to} {rig.clock.monotonic()}.db"
    with closing(Store(path)) as store:
        offset, end = await rig.journal.bounds(Topic.MUTATIONS, partition)
        while offset < min(to, end):
            for record in await rig.journal.read(Topic.MUTATIONS, partition, offset):
                offset = record.offset + 1
                if record.offset < to:
                    with store.folding():
                        store.fold(decode_mutation(record.value))
        return facts(store)


async def agree(rig: Rig) -> int:
    """Each partition of the topic is as the mutations up to its mark; how many pages those are."""
    count = 0
    for partition in range(rig.journal.partitions):
        for _ in range(200):  # until it is filled, and at a moment at which nothing is half written
            mutations = (await rig.journal.bounds(Topic.MUTATIONS, partition))[1]
            there, mark = await told(rig, partition)
            if mutations == (await rig.journal.bounds(Topic.MUTATIONS, partition))[1] and mark and mark.filled is None:
                break
            await asyncio.sleep(1.0)
        else:
            raise AssertionError(f"partition {partition} has no mark")
        assert there == await folded(rig, partition, mark.offset)
        count += len(there)
    return count


@pytest.mark.parametrize("trouble", [EVERYTHING, Trouble(crash=0.15)], ids=["everything", "the process dies"])
def test_at_every_mark_it_is_what_the_mutations_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, trouble: Trouble
) -> None:
    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], pages=40, seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(seed), trouble=trouble, seed=seed, publish=KEPT)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=HARD)
        async with rig.running():
            for _ in range(3):
                await live(rig, work, Scenario(), 20)
                await agree(rig)
            await settle_down(rig)
        assert await agree(rig) > 10
        assert not await rig.violations()
        for partition in range(rig.journal.partitions):  # and it ends where they end
            mark = (await told(rig, partition))[1]
            assert mark
            assert mark.offset == (await rig.journal.bounds(Topic.MUTATIONS, partition))[1]
        await rig.journal.close()

    for seed in seeds(request):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]


@pytest.mark.parametrize("cut", [False, True])
def test_switched_on_later_off_and_on_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, *, cut: bool
) -> None:
    """It is filled from the store; switched off, all of it is taken back; a store that was lost meanwhile is no matter."""
    monkeypatch.setattr(pages_module, "FILL_AT_ONCE", 3)
    monkeypatch.setattr(pages_module, "PORTION", 2_000)
    monkeypatch.setattr(pages_module, "MOST", 5)

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(seed), trouble=Trouble(crash=0.05), seed=seed)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=HARD)
        for publish in (NOT_KEPT, KEPT, NOT_KEPT, KEPT):
            rig.settings = rig.settings.model_copy(update={"publish": publish})
            async with rig.running():
                await live(rig, work, Scenario(), 20)
                await rig.drain()
                if publish.pages:
                    assert await agree(rig) > 5
                else:
                    assert [await told(rig, partition) for partition in range(rig.journal.partitions)] == [({}, None)] * 4
            if cut:
                (rig.folder / "store.db").unlink()
        await rig.journal.close()

    for seed in seeds(request):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]


@dataclass
class Slow:
    """A journal where much happens between two readings, and whoever reads is killed now and then."""

    rig: Rig
    reads: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rig.journal, name)

    async def read(self, topic: Topic, partition: int, offset: int, *, limit: int = 1000) -> Sequence[Stored]:
        await asyncio.sleep(self.rig.rng.random() * 3)
        self.reads += 1
        if self.reads % 17 == 0:
            raise Killed
        return await self.rig.journal.read(topic, partition, offset, limit=limit)


class Killed(Exception):
    pass


async def begun(rig: Rig, path: Path, settings: MirrorSettings) -> int:
    """A mirror that begins with the pages while the hub goes on; how often it was killed on the way."""
    killed, slow = 0, Slow(rig)
    while True:
        with closing(Store(path)) as store:
            work = FromPages(cast("Journal", slow), store, settings)
            try:
                await work.begin()
                async for _ in work.fill():
                    pass
                await work.finish()
            except Killed:
                killed += 1
            else:
                return killed


async def followed(rig: Rig, path: Path, settings: MirrorSettings) -> Facts:
    with closing(Store(path)) as store:
        mirror = Mirror(rig.journal, store, settings)
        await mirror.run(asyncio.Event(), 0.1)
        assert not mirror.tally.diverged
        assert not store.diverged()
        return facts(store)


def test_a_mirror_that_begins_with_it_is_as_one_that_followed_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(from_pages, "AT_ONCE", 4)
    monkeypatch.setattr(pages_module, "PORTION", 4_000)

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], pages=40, seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(seed), trouble=Trouble(crash=0.05, apart=3.0), seed=seed, publish=KEPT)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=HARD)
        scopes = MirrorSettings(), MirrorSettings(wikis=("en*",), namespaces=(0, 2))
        killed, rounds = 0, []
        async with rig.running():
            await live(rig, work, Scenario(), 40)
            await agree(rig)
            for number, scope in enumerate(scopes):
                beside = asyncio.create_task(live(rig, work, Scenario(rate=1.0), 30))
                began = rig.appended.total()
                killed += await begun(rig, rig.folder / f"begun {number}", scope)
                rounds.append(rig.appended.total() - began)
                await beside
            await settle_down(rig)
        assert killed > 0
        assert min(rounds) > 2, "something has to happen while it is read"
        for number, scope in enumerate(scopes):
            mine = await followed(rig, rig.folder / f"begun {number}", scope)
            assert mine == await followed(rig, rig.folder / f"from the start {number}", scope)
            assert len(mine) > 5
        await rig.journal.close()

    for seed in seeds(request):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]
