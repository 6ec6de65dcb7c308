"""Manifests of every hour, whoever dies when: every record is in one of them and in one only, and the counts add up to those of
law 3. Checked as a partner would, with nothing of the package's own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.enrich import manifests as making
from syncer.journal import Topic
from syncer.status import read_status
from tests.inprocess import Rig, Trouble
from tests.property.test_hub import HARD, Scenario, live, seeds, settle_down
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from syncer.journal import Stored
    from tests.virtual import Clock

HOUR = 60.0  # seconds: a long day of them in some minutes


async def stored(rig: Rig, topic: Topic, partition: int) -> list[Stored]:
    found: list[Stored] = []
    offset, end = await rig.journal.bounds(topic, partition)
    while offset < end:
        found += await rig.journal.read(topic, partition, offset)
        offset = found[-1].offset + 1
    return found


def hashed(records: Sequence[Stored]) -> str:
    whole = hashlib.sha256()
    for record in records:
        digest = record.headers.get("published_sha256") or hashlib.sha256(record.salt.encode() + record.value).hexdigest()
        whole.update(f"{record.key} {digest}\n".encode())
    return whole.hexdigest()


async def check(rig: Rig) -> dict[str, list[dict[str, Any]]]:
    """Every manifest is signed, follows the one before and says what is there; nothing is left over. The manifests, by wiki."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for partition in range(rig.journal.partitions):
        mutations: dict[str, list[Stored]] = defaultdict(list)
        for record in await stored(rig, Topic.MUTATIONS, partition):
            mutations[record.headers["wiki"]].append(record)
        before: dict[str, bytes] = {}
        for record in await stored(rig, Topic.MANIFESTS, partition):
            manifest, wiki = orjson.loads(record.value), record.headers["wiki"]
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record.headers["public_key"]))
            key.verify(bytes.fromhex(record.headers["signature"]), record.value)
            assert record.key == f"{wiki}:{manifest['hour']}"
            assert (manifest["journal"], manifest["partition"]) == (rig.journal.identity, partition)
            if wiki in before:
                last = told[wiki][-1]
                assert manifest["previous"] == {"hour": last["hour"], "sha256": hashlib.sha256(before[wiki]).hexdigest()}
                assert manifest["from"] == last["to"]
                assert manifest["hour"] > last["hour"]
            else:
                assert manifest["previous"] is None
                assert not mutations[wiki] or manifest["from"] <= mutations[wiki][0].offset
            own = [one for one in mutations[wiki] if manifest["from"] <= one.offset < manifest["to"]]
            assert (manifest["records"], manifest["sha256"]) == (len(own), hashed(own))
            assert (manifest["first"], manifest["last"]) == ((own[0].offset, own[-1].offset) if own else (None, None))
            assert manifest["mutations"] == Counter(one.headers["kind"] for one in own)
            assert own or any(manifest["outcomes"].values())
            before[wiki] = record.value
            told[wiki].append(manifest)
        for wiki, records in mutations.items():
            assert told[wiki][-1]["to"] > records[-1].offset
    return told


def outcomes(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = {name: sum(one["outcomes"][name] for one in manifests) for name in ("published", "merged")}
    by_reason = {name: Counter[str]() for name in ("skipped", "set_aside")}
    for one in manifests:
        for name, counted in by_reason.items():
            counted.update(one["outcomes"][name])
    return {**found, **{name: dict(counted) for name, counted in by_reason.items()}}


TROUBLES = {
    "nothing goes wrong": Trouble(),
    "the process dies": Trouble(crash=0.1),
    "everything is late and twice, and the process dies": Trouble(lag=3.0, apart=3.0, twice=0.1, crash=0.05),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_every_record_is_told_of_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(making, "EVERY", HOUR)

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:3], seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / f"{name} {seed}", trouble=TROUBLES[name], seed=seed)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=HARD)
        for _ in range(2):  # with a while in between in which nobody runs
            async with rig.running():
                await live(rig, work, Scenario(rate=0.5), 60)
            await asyncio.sleep(2.5 * HOUR)
        async with rig.running():
            await settle_down(rig)
            await asyncio.sleep(HOUR + making.LOOK_EVERY)
        told = await check(rig)
        assert sum(map(len, told.values())) > 8
        everything = [one for manifests in told.values() for one in manifests]
        assert outcomes(everything) == (await read_status(rig.journal))["outcomes"]
        assert not await rig.violations()
        assert rig.crashes or not TROUBLES[name].crash
        await rig.journal.close()

    for seed in seeds(request):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]
