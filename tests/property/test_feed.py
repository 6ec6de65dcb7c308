"""Laws of the feed: the same events however bytes are cut, no harm from any bytes, nothing lost or repeated on resume."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from syncer.config import WikiSettings
from syncer.demo.log import EventLog
from syncer.demo.log import Record as Logged
from syncer.demo.subscription import Subscription
from syncer.feed import Delivered, Scope
from syncer.feed.decode import STREAMS, bare, decode, identify
from syncer.feed.event import Aside, Envelope, Skip
from syncer.feed.memory import Memory
from syncer.feed.position import Cursor, floor, iso, stream_of
from syncer.feed.sift import Sift, Unfit
from syncer.feed.sse import MAX_LINES, Cutter, Event, Rejected
from syncer.feed.vitals import Vitals
from syncer.model import Change, Position

NOW = "2026-11-24T05:00:00.000Z"
T0 = 1_795_496_400_000

# -- bytes -----------------------------------------------------------------------------------------------------------------

PIECES = (
    b"\n", b"\n\n", b"\r\n", b"\r", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef", b":", b": ", b"data", b"data: ", b"id: ",
    b"event: error", b"event: message\n", b"retry: 1", b"id: [1]\n", b"data: {}\n\n", "\u2028\x85".encode(), b"\xff\x00",
    b" ", b"x", b"y" * 30, b"data: 1\n" * MAX_LINES,
)  # fmt: skip
STREAMS_OF_BYTES = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))


def cut(stream: bytes, at: list[int], max_block: int) -> list[Event | Rejected]:
    cutter, found, begin = Cutter(max_block), list[Event | Rejected](), 0
    for end in [*sorted(number % (len(stream) + 1) for number in at), len(stream)]:
        found += cutter.feed(stream[begin:end])
        assert len(cutter._buffer) <= len(stream[begin:end]) + max_block + 3
        begin = end
    return found


@given(STREAMS_OF_BYTES, st.lists(st.integers(0, 10**6), max_size=30), st.sampled_from((20, 100, 10**6)))
@example(b"\xef\xbb\xbfdata: 1\r\n\r\ndata: 2\n\n", list(range(30)), 20)
def test_however_the_bytes_are_cut_the_events_are_the_same(stream: bytes, at: list[int], max_block: int) -> None:
    assert cut(stream, at, max_block) == cut(stream, [], max_block) == cut(stream, list(range(len(stream))), max_block)


@given(STREAMS_OF_BYTES)
def test_events_are_what_the_standard_says(stream: bytes) -> None:
    assert cut(stream, [], 10**6) == list(by_the_standard(stream))


def by_the_standard(stream: bytes) -> list[Event | Rejected]:
    """Server-sent events as the HTML standard reads them, one line after the other; only the bound on lines is ours."""
    text = stream.removeprefix(b"\xef\xbb\xbf")
    if text.endswith(b"\r"):
        text = text[:-1]  # whether this is a whole line end is not known yet
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    found: list[Event | Rejected] = []
    block: list[bytes] = []
    for line in lines[:-1]:
        if line:
            block.append(line)
            continue
        fields = [tuple(each.partition(b":")[::2]) for each in block if not each.startswith(b":")]
        values = [(name, value.removeprefix(b" ")) for name, value in fields]
        data = [value for name, value in values if name == b"data"]
        if len(block) > MAX_LINES:
            raw = b"\n".join(block)
            found.append(Rejected(len(raw), raw[:4096]))
        elif data:
            kind = [value for name, value in values if name == b"event"] or [b""]
            event_id = [value for name, value in values if name == b"id"] or [b""]
            found.append(Event(kind[-1].decode("latin-1") or "message", event_id[-1].decode("latin-1"), b"\n".join(data)))
        block = []
    return found


# -- events ----------------------------------------------------------------------------------------------------------------

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**64), 2**64), st.floats(allow_nan=False), st.text(max_size=8))
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)
FIELDS = (
    "meta", "type", "wiki", "wiki_id", "database", "title", "namespace", "revision", "log_type", "log_action", "log_params",
    "bot", "page", "page_change_kind", "prior_state", "created_redirect_page", "rev_id", "rev_parent_id", "page_id",
    "page_title", "visibility", "performer", "$schema", "server_name",
)  # fmt: skip
WHOLE: dict[str, Any] = {
    "type": "edit", "wiki": "enwiki", "wiki_id": "enwiki", "database": "enwiki", "title": "A", "namespace": 0,
    "revision": {"old": 1, "new": 2, "rev_id": 2}, "log_type": "delete", "log_action": "revision",
    "log_params": {"type": "revision", "ids": [1], "nfield": 1, "target": "B"}, "page": {"page_id": 1, "page_title": "A"},
    "page_change_kind": "edit", "rev_id": 2, "page_id": 1, "page_title": "A", "performer": {"is_bot": True},
    "visibility": {"text": True, "user": True, "comment": True},
}  # fmt: skip


@given(
    st.sampled_from([*STREAMS, "other"]),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5),
    st.sampled_from(("edit", "log")),
)
def test_an_event_with_anything_in_its_fields_does_no_harm(stream: str, wrong: dict[str, Any], kind: str) -> None:
    meta = {"id": "e-1", "stream": stream, "domain": "en.wikipedia.org", "dt": NOW}
    harmless(json.dumps({"meta": meta, **WHOLE, "type": kind, **wrong}).encode())
    harmless(json.dumps({**WHOLE, "type": kind, **wrong, "meta": {**meta, **wrong}}).encode())


@given(st.one_of(st.binary(max_size=100), JSON.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_as_an_event_do_no_harm(data: bytes) -> None:
    harmless(data)


def harmless(data: bytes) -> None:
    """Whatever comes of it is one of three things, and a change is sound."""
    envelope = identify(data)
    outcome = decode(envelope, NOW) if isinstance(envelope, Envelope) else envelope
    assert isinstance(outcome, Change | Skip | Aside)
    if isinstance(outcome, Change):
        assert outcome.rev_ids or outcome.titles or outcome.page_ids
        assert all(0 < number < 2**63 for number in (*outcome.rev_ids, *outcome.page_ids))
        assert not any("_" in title or "|" in title for title in outcome.titles)
    verdict = Sift(Scope(WikiSettings(include=("*",))), Memory(0)).judge(Delivered(("t", 0), T0, data), NOW)
    assert not isinstance(verdict, Unfit) or len(verdict.entry.raw or b"") <= 4096
    if isinstance(envelope, Envelope):
        orjson.dumps(bare(envelope.event))


SECRETS = {
    "user": "Secret", "comment": "Secret", "parsedcomment": "Secret", "log_params": {"a": ["Secret"]}, "rev_sha1": "Secret",
    "performer": {"user_text": "Secret"}, "revision": {"editor": {"user_text": "Secret"}, "comment": "Secret", "rev_id": 1},
}  # fmt: skip


KNOWN = {"meta": {"stream": "mediawiki.recentchange", "domain": "en.wikipedia.org"}, "title": "A", "wiki": "enwiki", "type": 7}


@given(st.permutations([*SECRETS, *KNOWN]), st.integers(0, 600), st.sampled_from((*KNOWN, None)))
def test_of_an_event_that_is_not_understood_nothing_personal_is_kept(order: list[str], at: int, missing: str | None) -> None:
    """Cut anywhere, or whole and with something missing; in whatever order its parts are."""
    parts = SECRETS | KNOWN
    order = [name for name in order if name != missing]
    data = json.dumps({name: parts[name] for name in order}).encode()
    sifter = Sift(Scope(WikiSettings(include=("*",))), Memory(0))
    found = [sifter.judge(Delivered(("t", 0), T0, piece), NOW) for piece in (data, data[:at])]
    found.append(sifter.rejected(Rejected(10**6, b"id: [1]\ndata: " + data[:at]), T0, NOW))
    unfit = [each for each in found if isinstance(each, Unfit)]
    assert len(unfit) >= 2  # a piece that is the whole comes again
    assert not [each for each in unfit if b"Secret" in (each.entry.raw or b"")]


# -- positions -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.text(max_size=20), JSON.map(json.dumps)), max_size=10))
def test_any_text_as_an_id_does_no_harm(event_ids: list[str]) -> None:
    cursor = Cursor(STREAMS, Position())
    for event_id in event_ids:
        before = cursor.position()
        cursor.absorb(event_id, T0, 2 * T0)
        assert all(cursor.timestamps[source] >= at for source, at in before.timestamps.items())
        assert json.loads(cursor.token(30)) is not None


# -- resuming --------------------------------------------------------------------------------------------------------------

CREATE, PAGES, RECENT = "mediawiki.revision-create", "mediawiki.page_change.v1", "mediawiki.recentchange"
REWIND = 30_000  # milliseconds
ASKED = (CREATE, PAGES, RECENT)
SCOPE = Scope(WikiSettings(include=("*",)))


@dataclass
class World:
    """An upstream that tells of edits and of restored revisions, and a reader of it that is cut off, and dies, now and then.

    What a commit keeps is ``changes`` and ``committed``; all else of the reader is gone when it dies.
    """

    rng: Random
    now: int = T0
    facts: Counter[int] = field(default_factory=Counter)  # by revision: its edit, and each time it was restored
    changes: list[Change] = field(default_factory=list)
    committed: Position = field(default_factory=Position)
    told: int = 0
    left_at: int = T0
    safe: int = T0

    def __post_init__(self) -> None:
        self.log = EventLog(lambda: self.now / 1000, self.rng)
        self.centre = "eqiad"
        self.die()

    def tell(self, stream: str, rev_id: int) -> None:
        """One event, up to a second early or late, and now and then twice; its time is out of order by up to ten."""
        self.told += 1
        at = self.now + self.rng.randrange(-5000, 5000)
        meta = {"id": f"e-{self.told}", "stream": stream, "domain": "en.wikipedia.org", "dt": iso(at)}
        about: dict[str, Any] = {"database": "enwiki", "rev_id": rev_id, "page_id": rev_id}
        if stream == PAGES:
            about = {"wiki_id": "enwiki", "page_change_kind": "edit", "page": {"page_id": rev_id}, "revision": {"rev_id": rev_id}}
        elif stream == RECENT:
            about = {"wiki": "enwiki", "type": "edit", "revision": {"new": rev_id}}
        data = orjson.dumps({"meta": meta, **about})
        for _ in range(1 + (self.rng.random() < 0.2)):
            self.log.partitions[f"{self.centre}.{stream}", 0].append(Logged(at, data))

    def edit(self) -> None:
        rev_id = len(self.facts) + 1
        self.facts[rev_id] += 1
        for stream in self.rng.sample(ASKED, 3):
            self.tell(stream, rev_id)

    def restore(self) -> None:
        if self.facts:
            rev_id = self.rng.choice(list(self.facts))
            self.facts[rev_id] += 1
            self.tell(CREATE, rev_id)

    def named(self) -> Counter[int]:
        """What the changes tell of: a revision, or the page (its id is the same here) that is to be read again."""
        return Counter(number for change in self.changes for number in change.rev_ids or change.page_ids)

    def switch(self) -> None:
        self.centre = "codfw" if self.centre == "eqiad" else "eqiad"

    def wait(self) -> None:
        self.now += self.rng.choice((100, 1000, 10_000, 100_000))

    def die(self) -> None:
        """Start over from what is committed."""
        self.cursor, self.vitals, self.memory = Cursor(ASKED, self.committed), Vitals(), Memory(REWIND)
        for change in self.changes:
            self.memory.recall(change, self.committed.timestamps)
        self.sift = Sift(SCOPE, self.memory)
        self.subscription: Subscription | None = None
        self.discover = False

    def cut(self) -> None:
        """The connection ends; the next one may look for new partitions."""
        self.subscription, self.discover = None, self.rng.random() < 0.3

    def connect(self) -> Subscription:
        complete = self.vitals.feed_time(self.now / 1000)
        begin = max(0, (complete or floor(self.cursor.timestamps) or T0) - REWIND)
        token = self.cursor.complete and not self.discover
        asked = {"last_event_id": self.cursor.token(REWIND / 1000)} if token else {"since": iso(begin)}
        self.cursor.connected()
        self.vitals.listening(self.now / 1000)
        self.safe = min(begin, self.now)
        return Subscription(self.log, ASKED, **asked)

    def read(self) -> None:
        """Read some of what a connection has, and commit it."""
        self.take(self.rng.choice((1, 5, 10**6)))

    def attend(self) -> None:
        """Read everything for some minutes."""
        for _ in range(self.rng.randrange(1, 50)):
            self.now += 4000
            self.take(10**6)

    def take(self, most: int) -> None:
        self.subscription = self.subscription or self.connect()
        if self.now - self.left_at > 5000:
            self.vitals.listening(self.now / 1000)
        while most > 0 and (deliveries := self.subscription.read()[:most]):
            for delivery in deliveries:
                source, at = self.cursor.absorb(delivery.position.decode(), self.safe, 2 * T0)
                verdict = self.sift.judge(Delivered(source, at, delivery.data), iso(self.now))
                if isinstance(verdict, Change):
                    self.changes.append(verdict)
            self.vitals.heard(self.cursor.timestamps, self.now / 1000)
            complete = self.vitals.feed_time(self.now / 1000)
            self.memory.forget(self.cursor.timestamps, complete and complete - REWIND)
            if most < len(deliveries) or (most := most - len(deliveries)) <= 0:
                self.cut()  # what it had in hand is gone
        self.committed, self.left_at = self.cursor.position(), self.now


ACTS = ("edit", "edit", "edit", "edit", "restore", "switch", "wait", "read", "read", "cut", "attend")


@given(st.lists(st.sampled_from(ACTS), max_size=60), st.integers(0, 10**6))
def test_every_fact_becomes_one_change_however_connections_end(acts: list[str], seed: int) -> None:
    world = World(Random(seed))
    for act in acts:
        getattr(world, act)()
    world.cut()
    world.take(10**6)
    named = world.named()
    assert named == world.facts


@given(st.lists(st.sampled_from((*ACTS, "die", "die")), max_size=60), st.integers(0, 10**6))
def test_a_death_loses_nothing_and_repeats_no_event(acts: list[str], seed: int) -> None:
    world = World(Random(seed))
    for act in acts:
        getattr(world, act)()
    world.cut()
    world.take(10**6)
    named = world.named()
    assert all(named[rev_id] >= count for rev_id, count in world.facts.items())
    assert len({change.change_id for change in world.changes}) == len(world.changes)


def test_the_streams_of_a_topic() -> None:
    assert stream_of(f"eqiad.{CREATE}") == CREATE
