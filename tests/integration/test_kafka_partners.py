"""Partners of a hub on Kafka: the package's own mirror, and three programs that share nothing with it but the five lines."""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from syncer.clock import now_iso
from syncer.demo.actions import WEIGHTS, Workload, drive
from syncer.demo.farm import Farm
from syncer.demo.faults import Faults
from syncer.demo.report import compare
from syncer.demo.server import serve
from syncer.journal import Record, Topic, open_journal
from syncer.journal.kafka.names import topic_name
from syncer.journal.kafka.producer import sending
from syncer.mirror.reading import export
from syncer.provision import apply
from syncer.store import Store
from syncer.wire import encode_mutation, headers_of, key_of
from tests.command import Place, told
from tests.e2e.checker import Checker
from tests.kafka import fresh
from tests.kafka_journal import on_kafka
from tests.mutations import Pages
from tests.partners import PROGRAMS, TIMEOUT, Partner, blocks, build

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from syncer.config import JournalSettings
    from syncer.model import Mutation
    from tests.command import Said
    from tests.kafka import Kafka
    from tests.partners import Page

BUSY = dict(WEIGHTS) | {"move": 14, "move_back": 3, "delete": 6, "undelete": 4, "recreate": 3, "hide": 3}
FACTS = ("wiki_id", "page_id", "title", "namespace", "rev_id", "sha1", "text")
EVERYTHING = {
    "WIKI__INCLUDE": "*",
    "WIKI__EXCLUDE": "wikidatawiki",
    "WIKI__NAMESPACES": "*",
    "API__REQUESTS_PER_MINUTE": "6000",
    "API__YOUNG": "1",
}


def on(journal: JournalSettings) -> dict[str, str]:
    """The settings of whoever uses this journal."""
    return {"JOURNAL__URL": journal.url, "JOURNAL__PREFIX": journal.prefix, "JOURNAL__PARTITIONS": str(journal.partitions)}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("programs") / "partners")


@dataclass(frozen=True)
class Published:
    """What a hub made of a busy farm: the journal's settings, the mirror that followed, and every record."""

    farm: Farm
    place: Place
    journal: JournalSettings
    records: Sequence[dict[str, Any]]

    @property
    def mirror(self) -> Path:
        return self.place.folder / "mirror.db"

    def wiki(self, *wanted: int, touched: bool = False) -> dict[tuple[str, int], Page]:
        """The farm's own pages in these namespaces, or those of them that something happened to."""
        pages = ({name: page[name] for name in FACTS} for page in self.farm.export(touched=touched))
        return {(page["wiki_id"], page["page_id"]): page for page in pages if page["namespace"] in wanted}


@pytest.fixture(scope="module")
def published(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """A real hub and a real mirror have followed a farm that was busy for a few seconds."""
    journal = on_kafka(3)
    farm = Farm(pages=80, seed=4)
    farm.faults = Faults(canary_every=0.5, duplicate=0.02, reorder=0.02)
    place = Place(tmp_path_factory.mktemp("published"), {**EVERYTHING, **on(journal), "FEED__SINCE": now_iso()})

    async def work() -> None:
        async with serve(farm) as upstream:
            place.settings |= {"FEED__URL": upstream.feed_url, "API__URL": upstream.api_url}
            hub, mirror = place.start("run", "--until-idle", "3"), place.start("mirror", "follow")
            await drive(Workload(farm, seed=4, weights=BUSY), rate=100, count=400)
            said = await asyncio.to_thread(told, hub)
            assert said.code == 0, said.err
            mirror.terminate()
            said = await asyncio.to_thread(told, mirror)
            assert said.code == 0, said.err

    try:
        asyncio.run(work())
        last = told(place.start("mirror", "follow", "--until-idle", "0.5"))
        assert last.code == 0, last.err
        yield Published(farm, place, journal, told(place.start("journal", "read", "mutations")).lines)
    finally:
        place.clean_up()


@pytest.fixture(params=["kcat", "python", "java"])
def partner(request: pytest.FixtureRequest, programs: Path, published: Published, tmp_path: Path) -> Partner:
    """Each of the programs, subscribed to what the hub published."""
    return Partner(
        request.param,
        programs,
        tmp_path / "partner",
        topic_name(published.journal.prefix, Topic.MUTATIONS),
        access(published.journal),
    )


def access(journal: JournalSettings) -> dict[str, str]:
    """How a partner's client reaches the brokers."""
    return {"bootstrap.servers": journal.url.removeprefix("kafka://")}


def assert_equal(found: Sequence[Page], published: Published, *wanted: int) -> None:
    """A partner has the wikis' pages of these namespaces: all that something happened to, none other, none wrong."""
    truth, pages = published.wiki(*wanted), {(page["wiki_id"], page["page_id"]): page for page in found}
    assert len(pages) == len(found)
    assert published.wiki(*wanted, touched=True).keys() - pages.keys() == set()
    assert pages == {key: truth.get(key) for key in pages}


@dataclass(frozen=True)
class Aborted:
    """A topic with an aborted record in the middle."""

    journal: JournalSettings
    topic: str

    @property
    def access(self) -> dict[str, str]:
        return access(self.journal)


async def publish(journal: JournalSettings, *mutations: Mutation) -> None:
    """Append mutations one by one."""
    opened = await open_journal(journal)
    for mutation in mutations:
        await opened.append(record(mutation))
    await opened.close()


def record(mutation: Mutation) -> Record:
    return Record(Topic.MUTATIONS, 0, key_of(mutation), encode_mutation(mutation), headers_of(mutation))


async def _identity(journal: JournalSettings) -> str:
    opened = await open_journal(journal)
    await opened.close()
    return opened.identity


async def until_gone(kafka: Kafka, topic: str) -> None:
    """Until every broker has forgotten a topic that was deleted."""
    async with kafka.admin() as admin, asyncio.timeout(TIMEOUT):
        while not (await admin.describe_topics([topic]))[0]["error_code"]:
            pass


async def follow(place: Place) -> Said:
    """Let the mirror read to the journal's end."""
    said = await asyncio.to_thread(told, place.start("mirror", "follow", "--until-idle", "0.3", "--json"))
    place.clean_up()
    return said


class TestOwnMirror:
    def test_it_ends_with_the_wikis_texts(self, published: Published) -> None:
        with closing(Store(published.mirror)) as store:
            compared = compare(published.farm, export(store))
        assert compared.differences == ()
        assert compared.pages > 100

    def test_offsets_and_identity_are_in_its_store(self, published: Published) -> None:
        ends = {record["partition"]: record["offset"] + 1 for record in published.records}
        assert len(ends) > 1
        with closing(Store(published.mirror)) as store:
            assert {partition: store.offset(partition) for partition in ends} == ends
            assert store.meta("journal") == asyncio.run(_identity(published.journal))

    @pytest.mark.parametrize("what", ["made anew", "cut by retention", "rewound"])
    async def test_a_topic_that_is_another_now_is_3_with_a_hint(self, kafka: Kafka, tmp_path: Path, what: str) -> None:
        journal, pages = on_kafka(1), Pages()
        place, topic = Place(tmp_path, on(journal)), topic_name(journal.prefix, Topic.MUTATIONS)
        await publish(journal, pages.snapshot(1, "One", b"one"), pages.patch(1, "One", b"two"))
        assert (await follow(place)).lines[0]["applied"] == {"snapshot": 1, "patch": 1}
        async with kafka.admin() as admin:
            if what == "made anew":
                await admin.delete_topics([topic])
                await until_gone(kafka, topic)
                await apply(journal)
                await publish(journal, *(Pages().snapshot(1, "One", b"other") for _ in range(5)))
            elif what == "cut by retention":
                await publish(journal, pages.patch(1, "One", b"three"), pages.patch(1, "One", b"four"))
                end = await kafka.end(topic)
                await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=end - 1)})
            else:  # as after a broker came back with an older disk; to the mirror it is the same if its own offset is further
                with closing(Store(tmp_path / "mirror.db")) as store, store.folding():
                    store.advance(0, await kafka.end(topic) + 1)
        said = await follow(place)
        assert said.code == 3, said.err
        assert "hint" in said.err
        assert "anew" in said.err


class TestPlainPartner:
    def test_it_ends_with_the_wikis_texts(self, partner: Partner, published: Published) -> None:
        found = partner.run("0")
        assert_equal(found, published, 0)
        assert len(found) > 50

    @pytest.mark.parametrize("partner", ["python", "java"], indirect=True)
    def test_one_that_dies_goes_on_where_it_was(self, partner: Partner, published: Published) -> None:
        """With its own offsets in the transaction of its pages, or the group's committed afterwards: then some come twice."""
        total = len(published.records)
        for limit in (total // 3, total // 5):
            assert partner.run("0,4,10", limit=limit) == []
        assert_equal(partner.run("0,4,10"), published, 0, 4, 10)

    @pytest.mark.parametrize("partner", ["python"], indirect=True)
    def test_its_offsets_are_of_one_topic(self, partner: Partner, kafka: Kafka) -> None:
        partner.run("0")
        partner.topic = asyncio.run(kafka.topic(partitions=3))
        with pytest.raises(AssertionError, match="made anew"):
            partner.run("0")


class TestFilter:
    """By `namespace` and `prior_namespace`, as headers have them: what is left out is not even parsed."""

    def test_it_never_keeps_a_page_that_left(self, published: Published) -> None:
        """After every single record, whoever filters has what a reader of everything has in these namespaces."""
        spaces = sorted({record["value"]["page"]["namespace"] for record in published.records})
        choices = [{space} for space in spaces] + [set(random.Random(n).sample(spaces, 3)) for n in range(5)]
        left, everything, partners = 0, Checker(), [(wanted, Checker()) for wanted in choices]
        for record in published.records:
            headers = record["headers"]
            left += "prior_namespace" in headers
            everything.read([record])
            for wanted, partner in partners:
                if {int(headers["namespace"]), int(headers.get("prior_namespace", headers["namespace"]))} & wanted:
                    partner.read([record])
                assert kept(partner, wanted) == kept(everything, wanted)
        assert everything.violations == []
        assert left > 3

    def test_one_by_namespace_alone_keeps_them(self, published: Published) -> None:
        careless = Checker()
        careless.read(record for record in published.records if record["headers"]["namespace"] == "0")
        remains = {key for key, page in careless.pages.items() if page.live} - published.wiki(0).keys()
        assert remains  # one at least, whatever the workload did


def kept(checker: Checker, wanted: set[int]) -> dict[tuple[str, int], Any]:
    """The pages that a reader has who keeps these namespaces."""
    return {key: page for key, page in checker.pages.items() if page.live and page.namespace in wanted}


class TestIsolation:
    """A hub dies in the middle of a transaction, and the one after it publishes something else in its place."""

    @pytest.fixture
    async def aborted(self, kafka: Kafka) -> Aborted:
        journal, pages, other = on_kafka(1), Pages(), Pages()
        before = pages.snapshot(1, "One", b"a text\n"), other.snapshot(1, "One", b"a text\n")
        await publish(journal, before[0])
        topic = topic_name(journal.prefix, Topic.MUTATIONS)
        never = other.patch(1, "One", b"a text that was never published\n")
        async with kafka.producer(fresh("dies")) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(**sending(journal.prefix, record(never)))
            await producer.abort_transaction()
        await publish(journal, pages.patch(1, "One", b"the text\n"))
        return Aborted(journal, topic)

    @pytest.mark.parametrize("program", ["kcat", "python"])
    def test_read_committed_never_sees_what_was_aborted(
        self, aborted: Aborted, programs: Path, tmp_path: Path, program: str
    ) -> None:
        (page,) = Partner(program, programs, tmp_path / "partner", aborted.topic, aborted.access).run("0")
        assert page["text"] == "the text\n"

    @pytest.mark.parametrize("program", ["kcat", "python"])
    def test_read_uncommitted_does(self, aborted: Aborted, programs: Path, tmp_path: Path, program: str) -> None:
        """It takes what is no part of the wiki, and by its seq then leaves out what is. The hash of both is sound."""
        shutil.copytree(programs, careless := tmp_path / "careless")
        source = (careless / "partner.py").read_text()
        (careless / "partner.py").write_text(source.replace("read_committed", "read_uncommitted"))
        partner = Partner(program, careless, tmp_path / "partner", aborted.topic, aborted.access, isolation="read_uncommitted")
        (page,) = partner.run("0")
        assert page["text"] == "a text that was never published\n"


class TestPage:
    """docs/kafka.md shows what the programs do; its command line and its settings are run as they stand there."""

    @pytest.mark.parametrize(("language", "program"), [("python", "partner.py"), ("java", "Partner.java")])
    def test_what_it_shows_is_in_the_programs(self, language: str, program: str) -> None:
        source = "\n".join(line.strip() for line in (PROGRAMS / program).read_text().splitlines())
        shown = blocks("kafka.md")[language]
        assert shown
        for block in shown:
            assert "\n".join(line.strip() for line in block.splitlines()) in source
