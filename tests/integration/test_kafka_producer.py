"""Nothing of a producer that was given up is ever written after the next one started, whatever was on its way."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.admin import NewTopic
from aiokafka.producer.sender import Sender

from deploy.kafka.layout import make
from syncer.config import JournalSettings, KafkaSettings
from syncer.errors import JournalUnavailable, OutcomeUnknown, Refused, ResumeLost, Retry, Superseded
from syncer.journal import Record, Topic
from syncer.journal import kafka as kafka_journal
from syncer.journal.kafka import KafkaJournal, owner, producer, reading
from syncer.provision import apply
from tests.kafka import PATIENCE, Kafka, fresh
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from deploy.kafka.nodes import Cluster
    from syncer.journal.kafka.owner import KafkaOwner

    Open = Callable[..., Awaitable[KafkaJournal]]

STEPS = ["_do_add_partitions_to_txn", "_send_produce_req", "_do_txn_commit"]


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, proxy: Proxy) -> Iterator[Cluster]:
    cluster = make(tmp_path_factory.mktemp("behind"), security=True)
    proxy.put_before(cluster.nodes[0])
    with cluster:
        yield cluster


@pytest.fixture
async def opened(cluster: Cluster, proxy: Proxy) -> AsyncIterator[Open]:
    """Opens a new journal, as often as wanted, directly or over the proxy. Nothing of them stays behind."""
    settings = JournalSettings(
        url=f"kafka://{cluster.bootstrap}", prefix=fresh("j"), partitions=1, kafka=KafkaSettings(replication=1)
    )
    await apply(settings)
    journals: list[KafkaJournal] = []

    async def one(*, proxied: bool = False) -> KafkaJournal:
        url = f"kafka://127.0.0.1:{proxy.port}" if proxied else settings.url
        journals.append(await KafkaJournal.open(settings.model_copy(update={"url": url})))
        return journals[-1]

    yield one
    proxy.mend()
    for journal in journals:
        await journal.close()
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners do not wait long, and give no signs of life, so that every transaction is the test's."""
    monkeypatch.setattr(owner, "BEAT", 3600.0)
    monkeypatch.setattr(owner, "WITHIN", 2.0)
    monkeypatch.setattr(reading, "ASKED_WITHIN", 1000)
    monkeypatch.setattr(reading, "PATIENCE", 1.0)
    monkeypatch.setattr(kafka_journal, "ASKED_WITHIN", 1000)


def change(key: str) -> Record:
    return Record(Topic.CHANGES, 0, key, b"{}")


async def keys(journal: KafkaJournal) -> list[str]:
    start, _ = await journal.bounds(Topic.CHANGES, 0)
    return [record.key for record in await journal.read(Topic.CHANGES, 0, start)]


def cut_at(step: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the network the next time that a producer takes this step: its request is on its way, and arrives later."""
    original = getattr(Sender, step)

    async def stepped(self: Sender, *arguments: Any) -> Any:
        if proxy.port in [port for _, port, _ in self.client.hosts]:
            proxy.cut()
            monkeypatch.setattr(Sender, step, original)
        return await original(self, *arguments)

    monkeypatch.setattr(Sender, step, stepped)


async def insist(own: KafkaOwner, key: str) -> None:
    """Append although it fails at first."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await own.append([change(key)])
            except Retry:
                continue
            return


@pytest.mark.usefixtures("impatient")
class TestLate:
    """What arrives late."""

    @pytest.mark.parametrize("step", STEPS)
    async def test_is_refused_when_the_same_owner_has_gone_on(
        self, step: str, opened: Open, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal = await opened(proxied=True)
        own = await journal.own("owner")
        await own.append([change("a")])
        cut_at(step, proxy, monkeypatch)
        with pytest.raises(Retry) as caught:
            await own.append([change("late")])
        assert type(caught.value) is (OutcomeUnknown if step == "_do_txn_commit" else JournalUnavailable)
        proxy.reconnect()
        await insist(own, "b")
        proxy.mend()
        await own.append([change("c")])
        await asyncio.sleep(1.0)
        await own.append([change("d")])
        assert await keys(await opened()) == ["a", "b", "c", "d"]

    @pytest.mark.parametrize("step", STEPS)
    async def test_is_refused_when_another_has_followed(
        self, step: str, opened: Open, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cut_off, journal = await opened(proxied=True), await opened()
        old = await cut_off.own("owner")
        await old.append([change("a")])
        cut_at(step, proxy, monkeypatch)
        with pytest.raises(Retry):
            await old.append([change("late")])
        new = await journal.own("owner")
        await new.append([change("b")])
        proxy.mend()
        await asyncio.sleep(1.0)
        await new.append([change("c")])
        with pytest.raises(Superseded):
            await old.append([change("later")])
        assert await keys(journal) == ["a", "b", "c"]


@pytest.mark.usefixtures("impatient")
async def test_who_is_followed_just_before_he_starts_anew_writes_nothing(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """He looks for a successor, is suspended, and wakes up to start a producer, which fences that successor."""
    first, second = await opened(), await opened()
    old = await first.own("owner")
    await old.append([change("a")])
    await old._drop()
    new: list[KafkaOwner] = []
    start = producer.start

    async def late(*arguments: Any) -> Any:
        monkeypatch.setattr(owner, "start", start)
        new.append(await second.own("owner"))
        return await start(*arguments)

    monkeypatch.setattr(owner, "start", late)
    with pytest.raises(Superseded):
        await old.append([change("late")])
    with pytest.raises(Retry):  # fenced, he cannot know at first by whom
        await new[0].append([change("b")])
    await new[0].append([change("c")])
    assert await keys(second) == ["a", "c"]


@pytest.mark.usefixtures("impatient")
async def test_of_standbys_whose_patience_ends_at_once_one_follows(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would fence the one before. If the first to say so dies as well, the others choose again."""
    monkeypatch.setattr(kafka_journal, "PATIENCE", 1.0)
    monkeypatch.setattr(kafka_journal, "LAPSED", 1.0)
    dead = await (await opened()).own("owner")
    await dead._drop()
    standbys = [await opened() for _ in range(3)]
    waiting = {asyncio.create_task(one.stand_by(["owner"])): one for one in standbys}
    for left in (2, 1):  # the first one chosen never shows a sign of life
        chosen, others = await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        (first,) = chosen
        assert len(others) == left
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in others)
        standby = waiting.pop(first)
    await (await standby.own("owner")).append([change("a")])
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await keys(standby) == ["a"]


async def test_a_frozen_broker_is_not_waited_for_at_the_end(opened: Open, cluster: Cluster) -> None:
    journal = await opened()
    owners = [await journal.own(name) for name in ("one", "two")]
    await journal.append(change("a"))
    (node,) = cluster.nodes
    node.freeze()
    try:
        appending = [asyncio.ensure_future(each.append([change("b")])) for each in owners]
        await asyncio.sleep(0.5)
        for each in appending:
            each.cancel()
        began = time.monotonic()
        await journal.close()
        assert time.monotonic() - began < 10
    finally:
        node.thaw()
        await asyncio.gather(*appending, return_exceptions=True)


async def test_a_reader_notices_that_a_topic_was_made_anew(opened: Open, cluster: Cluster) -> None:
    """Also where it holds more than the reader has read of the old one."""
    journal, kafka = await opened(), Kafka(cluster.bootstrap)
    await journal.append(change("a"))
    assert await keys(journal) == ["a"]
    name = f"{journal._prefix}.changes.v1"
    async with kafka.admin() as admin:
        await admin.delete_topics([name])
        async with asyncio.timeout(PATIENCE):
            while (await admin.create_topics([NewTopic(name, 1, 1)])).topic_errors[0][1]:
                pass
    writer = await opened()
    for key in ("b", "c"):
        await writer.append(change(key))
    with pytest.raises(ResumeLost, match="made anew"):
        await journal.read(Topic.CHANGES, 0, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"password": "guessed"}, "SaslAuthenticationFailed"), ({"ca_file": None}, "CERTIFICATE_VERIFY_FAILED"),
     ({"sasl_mechanism": "PLAIN"}, "UnsupportedSaslMechanism")],
    ids=["password", "authority", "mechanism"],
)  # fmt: skip
async def test_who_is_not_let_in_is_told_so_and_does_not_wait(wrong: dict[str, Any], said: str, cluster: Cluster) -> None:
    right = {
        "security_protocol": "SASL_SSL", "username": "hub", "password": cluster.users["hub"], "ca_file": str(cluster.ca)
    }  # fmt: skip
    settings = JournalSettings(url=f"kafka://{cluster.secure_bootstrap}", kafka=KafkaSettings.model_validate(right | wrong))
    with pytest.raises(Refused, match=said) as caught:
        await KafkaJournal.open(settings)
    assert caught.value.exit_code == 69
    assert caught.value.hint
    with pytest.raises(Refused, match=said):
        await apply(settings)
