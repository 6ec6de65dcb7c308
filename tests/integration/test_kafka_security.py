"""Who is let in, and to what: SASL_SSL, SCRAM, certificates and ACLs, on a real broker."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType

from syncer.config import Retention
from syncer.errors import Refused, SyncerError
from syncer.journal import INGEST, WHOLE, Record, Topic, kafka, open_journal, partitions_of
from syncer.journal.kafka.names import topic_name
from syncer.journal.kafka.rights import Users, commands, optional, rights
from syncer.provision import apply, look
from syncer.store import Store
from tests.command import told
from tests.kafka import fresh
from tests.partners import Partner, build
from tests.secure import NOBODY, PARTITIONS, acls, certificate, of, said

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AclBinding

    from syncer.config import JournalSettings
    from syncer.journal import Journal
    from tests.command import Place, Said
    from tests.secure import Secure

TRIES = 20  # a broker hears of an ACL a moment after the one who set it


# -- rights --------------------------------------------------------------------------------------------------------------


async def operate(settings: JournalSettings) -> None:
    """Set up topics that are not there, and then such as are set otherwise."""
    await apply(settings, pages=True)
    wider = settings.model_copy(update={"retention": Retention(mutations_days=settings.retention.mutations_days + 1)})
    await apply(wider, pages=True)
    assert all(state.sound for state in await look(wider, pages=True))


async def work(settings: JournalSettings) -> None:
    """What a hub does with a journal."""
    journal = await open_journal(settings)
    try:
        ingest, enrich = await journal.own(INGEST), await journal.own(WHOLE.owner, range(PARTITIONS))
        await ingest.append([Record(topic, 0, "k", b"{}") for topic in (Topic.CHANGES, Topic.POSITIONS, Topic.SET_ASIDE)])
        await enrich.append([Record(topic, 0, "k", b"{}") for topic in Topic if topic not in {Topic.CHANGES, Topic.POSITIONS}])
        await journal.append(Record(Topic.CHANGES, 0, "k", b"{}"))
        await read(journal, Topic)
    finally:
        await journal.close()


async def subscribe(settings: JournalSettings) -> None:
    """What a partner does with it."""
    journal = await open_journal(settings)
    try:
        await read(journal, (Topic.MUTATIONS, Topic.WATERMARKS, Topic.MANIFESTS, Topic.PAGES))
        for topic in (Topic.RECEIPTS, Topic.REQUESTS):
            await journal.append(Record(topic, 0, "k", b"{}"))
    finally:
        await journal.close()


async def read(journal: Journal, topics: Iterable[Topic]) -> None:
    for topic in topics:
        for partition in range(partitions_of(topic, PARTITIONS)):
            start, _ = await journal.bounds(topic, partition)
            await journal.read(topic, partition, start)


async def allowed(do: Callable[[], Awaitable[None]], *, wanted: bool) -> None:
    """Until it is allowed, or refused for good with a hint, as wanted."""
    for _ in range(TRIES):
        refusal: SyncerError | None = None
        try:
            await do()
        except SyncerError as error:
            refusal = error
        if (refusal is None) == wanted:
            break
        await asyncio.sleep(0.1)
    assert (refusal is None) == wanted, refusal
    if refusal:
        assert isinstance(refusal, Refused), refusal
        assert refusal.hint


class TestRights:
    """With what `topics plan` prints it works; without any one of these rights it is refused."""

    @pytest.fixture
    def journal(self, secure: Secure, monkeypatch: pytest.MonkeyPatch) -> JournalSettings:
        """A journal of its own, without topics."""
        monkeypatch.setattr(kafka, "LAPSED", 0.2)  # an owner that was refused could not say goodbye, and nobody else lives here
        return secure.journal.model_copy(update={"prefix": fresh("j")})

    @pytest.mark.parametrize(("user", "does"), [("hub", work), ("partner", subscribe)], ids=["hub", "partner"])
    async def test_hub_and_partner(
        self, secure: Secure, journal: JournalSettings, user: str, does: Callable[[JournalSettings], Awaitable[None]]
    ) -> None:
        await apply(journal, pages=True)
        granted = of(user, journal)

        async def do() -> None:
            await does(secure.settings(user, journal))

        await allowed(do, wanted=False)
        secure.grant(granted)
        await allowed(do, wanted=True)
        for acl in granted:
            if acl.restype != ResourceType.GROUP:  # only for clients that subscribe in groups
                secure.revoke([acl])
                await allowed(do, wanted=False)
                secure.grant([acl])
        await allowed(do, wanted=True)

    async def test_how_topics_are_set_the_hub_sees_only_with_a_right_that_it_goes_on_without(
        self, secure: Secure, journal: JournalSettings
    ) -> None:
        await apply(journal, pages=True)
        secure.grant(of("hub", journal))

        async def doubts() -> list[str]:
            opened = await open_journal(secure.settings("hub", journal))
            try:
                return list(await opened.doubts())
            finally:
                await opened.close()

        await allowed(lambda: work(secure.settings("hub", journal)), wanted=True)
        (doubt,) = await doubts()
        assert "syncer topics plan prints" in doubt
        secure.grant([acl for line in commands(journal, optional(journal, Users(), pages=True)) for acl in acls(line)])
        for _ in range(TRIES):
            if not (found := await doubts()):
                break
        assert not found

    def test_a_partner_may_check_its_settings(self, secure: Secure, tmp_path: Path) -> None:
        came = said(secure.place(tmp_path, "partner"), "check-config")
        assert came.code == 0, came.out
        assert "this user may not see how the topics are set" in came.out.decode()

    async def test_operator(self, secure: Secure, journal: JournalSettings) -> None:
        """Each right on one of the topics: the others are like it."""
        granted, (topic, *_) = of("operator", journal), [topic_name(journal.prefix, topic) for topic in Topic]

        async def do() -> None:
            await secure.remove(topic)
            await operate(secure.settings("operator", journal))

        await allowed(do, wanted=False)
        secure.grant(granted)
        await allowed(do, wanted=True)
        for acl in granted:
            if acl.name == topic:
                secure.revoke([acl])
                await allowed(do, wanted=False)
                secure.grant([acl])
        await allowed(do, wanted=True)


# -- who is let in -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("programs") / "partners")


def articles(place: Place) -> dict[int, str]:
    """What the package's own mirror has of articles."""
    assert said(place, "mirror", "follow", "--until-idle", "0.3").code == 0
    pages = {line["page_id"]: line["text"] for line in said(place, "mirror", "export").lines if line["namespace"] == 0}
    assert len(pages) > 10
    return pages


class TestUsers:
    def test_the_operator_sets_up_the_topics(self, secure: Secure, tmp_path: Path) -> None:
        place = secure.place(tmp_path, "operator")
        assert said(place, "topics", "apply").code == 0
        assert said(place, "topics", "plan").code == 0
        assert_refused(said(place, "journal", "read", "mutations"), "mutations")

    @pytest.mark.parametrize("program", ["python", "java"])
    def test_a_partner_reads_its_topics(self, secure: Secure, programs: Path, tmp_path: Path, program: str) -> None:
        topic = topic_name(secure.journal.prefix, Topic.MUTATIONS)
        access = secure.client("partner", java=program == "java")
        theirs = Partner(program, programs, tmp_path / "partner", topic, access).run("0")
        assert {page["page_id"]: page["text"] for page in theirs} == articles(secure.place(tmp_path, "partner"))

    def test_a_mirror_says_what_it_has_honoured_and_goes_on_where_it_may_not(self, secure: Secure, tmp_path: Path) -> None:
        place, hub = secure.place(tmp_path, "partner"), secure.place(tmp_path, "hub")
        right = to_write(secure, Topic.RECEIPTS)
        secure.revoke([right])
        try:
            for _ in range(TRIES):
                came = said(place, "--set", f"mirror.path={tmp_path}/refused.db", "mirror", "follow", "--until-idle", "0.3")
                if "receipts cannot be written" in came.err:
                    break
            assert came.code == 0
            assert came.err.count("receipts cannot be written") == 1
            assert "TopicAuthorizationFailed" in came.err
        finally:
            secure.grant([right])
        path = f"mirror.path={tmp_path}/{secure.journal.prefix}.db"
        for _ in range(TRIES):
            came = said(place, "--set", path, "--set", "mirror.name=Search", "mirror", "follow", "--until-idle", "0.3")
            if "receipts" not in came.err:
                break
        (honoured,) = said(hub, "redactions", "status", "--json").lines
        (mirror,) = [one for one in honoured["mirrors"] if one["name"] == "Search"]
        assert honoured["redactions"] == mirror["honoured"] > 0
        assert mirror["open"] == 0

    def test_a_mirror_asks_for_what_it_lacks_and_goes_on_where_it_may_not(self, secure: Secure, tmp_path: Path) -> None:
        place, hub = secure.place(tmp_path, "partner", MIRROR__HEAL="hub"), secure.place(tmp_path / "hub", "hub")
        follow = ("mirror", "follow", "--until-idle", "0.5")
        assert said(place, *follow).code == 0
        with closing(Store(tmp_path / "mirror.db")) as store, store.folding():
            lost = [(wiki_id, page.page_id) for wiki_id, page in store.pages()][:5]
            for wiki_id, page_id in lost:
                store.mark(wiki_id, page_id, "lost")
        right = to_write(secure, Topic.REQUESTS)
        secure.revoke([right])
        try:
            for _ in range(TRIES):
                came = said(place, *follow)
                if "requests cannot be written" in came.err:
                    break
                with closing(Store(tmp_path / "mirror.db")) as store:
                    store._db.execute("DELETE FROM asked")  # the broker had not heard of it yet
            assert came.code == 0
            assert came.err.count("requests cannot be written") == 1
            assert "TopicAuthorizationFailed" in came.err
        finally:
            secure.grant([right])
        assert said(place, "mirror", "verify").code == 1
        for _ in range(TRIES):
            if "requests cannot be written" not in said(place, *follow).err:
                break
        nobody = {"API__URL": "http://127.0.0.1:9/{wiki_id}", "WIKI__INCLUDE": "*", "WIKI__NAMESPACES": "*"}
        (tmp_path / "hub").mkdir()
        process = hub.start("enrich", **nobody)  # with a store that it has to make anew
        for _ in range(TRIES):
            assert said(place, *follow).code == 0
            if said(place, "mirror", "verify").code == 0:
                break
        process.terminate()
        came = told(process)
        assert came.code == 0, came.err
        came = said(place, "mirror", "verify", "--against-hub", "all", "--json")
        assert came.code == 0, came.out
        records = said(place, "journal", "read", "mutations").lines
        healed = [one["key"] for one in records if one["value"]["source"]["stream"] == "heal"]
        assert sorted(healed) == sorted(f"{wiki_id}:{page_id}" for wiki_id, page_id in lost)

    def test_a_partner_reads_nothing_else_and_writes_nothing_else(self, secure: Secure, tmp_path: Path) -> None:
        place = secure.place(tmp_path, "partner")
        for topic in ("changes", "set-aside", "receipts", "requests"):
            assert_refused(said(place, "journal", "read", topic), topic)
        assert_refused(said(place, "redactions", "status"), "receipts")
        assert_refused(said(place, "run", "--standby"), "TopicAuthorizationFailed")
        Store(tmp_path / "store.db").close()
        assert_refused(said(place, "repair", "enwiki", "1", "--domain", "en.wikipedia.org"), "AuthorizationFailed")
        assert_refused(said(place, "topics", "plan"), "changes")
        topic = topic_name(secure.journal.prefix, Topic.MUTATIONS)
        assert "TOPIC_AUTHORIZATION_FAILED" in written(secure.client("partner"), topic)

    def test_a_stranger_gets_nothing(self, secure: Secure, tmp_path: Path) -> None:
        place = secure.place(tmp_path, "stranger")
        for arguments in (["mirror", "follow"], ["run"], ["run", "--standby"], ["status"], ["topics", "plan"]):
            assert_refused(said(place, *arguments), "TopicAuthorizationFailed")

    @pytest.mark.parametrize("user", [NOBODY, "hub"])
    def test_a_wrong_name_or_password_is_69_and_no_wait(self, secure: Secure, tmp_path: Path, user: str) -> None:
        place = secure.place(tmp_path, user, JOURNAL__KAFKA__PASSWORD="guessed")  # noqa: S106 - wrong
        for arguments in (["mirror", "follow"], ["run"], ["run", "--standby"], ["topics", "apply"])[
            : 1 if user == NOBODY else None
        ]:
            assert_refused(said(place, *arguments), "SaslAuthenticationFailed")


class TestCertificates:
    @pytest.mark.parametrize("wrong", ["authority", "no authority", "name"])
    def test_that_of_the_brokers_is_verified(self, secure: Secure, tmp_path: Path, wrong: str) -> None:
        more = {
            "authority": {"JOURNAL__KAFKA__CA_FILE": certificate(tmp_path, "other")},
            "no authority": {"JOURNAL__KAFKA__CA_FILE": ""},
            "name": {"JOURNAL__URL": f"kafka://127.1:{secure.cluster.secure_bootstrap.split(':')[1]}"},  # the same host
        }[wrong]
        came = said(secure.place(tmp_path, "partner", **more), "mirror", "follow")
        assert_refused(came, "CERTIFICATE_VERIFY_FAILED")
        assert "ca_file" in came.err

    def test_that_of_a_client_says_who_it_is(self, secure: Secure, programs: Path, tmp_path: Path) -> None:
        settings, name = (
            {"JOURNAL__URL": f"kafka://{secure.certified}", "JOURNAL__KAFKA__SECURITY_PROTOCOL": "SSL"},
            "CN=partner",
        )
        own = {"JOURNAL__KAFKA__CERT_FILE": secure.certificate, "JOURNAL__KAFKA__KEY_FILE": secure.key}
        place = secure.place(tmp_path, "nobody", **settings, **own)
        assert_refused(said(place, "mirror", "follow"), "TopicAuthorizationFailed")
        secure.grant(
            [
                acl
                for line in commands(secure.journal, rights(secure.journal, Users(partner=name)))
                for acl in acls(line)
                if name in acl.principal
            ]
        )
        topic = topic_name(secure.journal.prefix, Topic.MUTATIONS)
        theirs = Partner("kcat", programs, tmp_path / "partner", topic, secure.certified_client()).run("0")
        assert {page["page_id"]: page["text"] for page in theirs} == articles(place)

    @pytest.mark.parametrize("shown", ["none", "another"])
    def test_one_that_the_brokers_do_not_know_is_69_and_no_wait(self, secure: Secure, tmp_path: Path, shown: str) -> None:
        settings = {"JOURNAL__URL": f"kafka://{secure.certified}", "JOURNAL__KAFKA__SECURITY_PROTOCOL": "SSL"}
        if shown == "another":
            path = certificate(tmp_path, "partner")
            settings |= {"JOURNAL__KAFKA__CERT_FILE": path, "JOURNAL__KAFKA__KEY_FILE": path.replace(".pem", ".key")}
        assert_refused(said(secure.place(tmp_path, "nobody", **settings), "mirror", "follow"), "CERTIFICATE")


def to_write(secure: Secure, topic: Topic) -> AclBinding:
    """The partner's right to write a topic."""
    name = topic_name(secure.journal.prefix, topic)
    (right,) = [acl for acl in of("partner", secure.journal) if (acl.operation, acl.name) == (AclOperation.WRITE, name)]
    return right


def assert_refused(came: Said, what: str) -> None:
    assert came.code == 69, came.err
    assert what in came.err
    assert "hint" in came.err


def written(access: dict[str, str], topic: str) -> str:
    """What becomes of a record that a partner writes, with a client of its own."""
    problems = [""]

    def delivered(error: KafkaError | None, _: object) -> None:
        if error:
            problems.append(error.name())

    producer = Producer({**access, "message.timeout.ms": 10_000})
    producer.produce(topic, b"{}", key=b"none", partition=0, on_delivery=delivered)
    producer.flush(15)
    return problems[-1]
