"""Where answers become mutations: the only place that writes the hub's store and enrich's part of the journal.

Everything here runs in one thread of its own, so that the event loop never waits for a diff, a fold or a disk. A batch is one
transaction of the store around one transaction of the journal: folded, then committed to the journal, then kept. If the journal
refuses, the store forgets; if the process dies between the two, the next start folds what it missed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from syncer import telemetry
from syncer.compose import Frame, Published, compose
from syncer.decide import Context, decide, first_question, left, restated
from syncer.enrich.erasing import Told, bereft, erasures, lasting, texts
from syncer.enrich.making import NOBODY, Making
from syncer.enrich.queues import Item, batched
from syncer.enrich.tallies import Tallies
from syncer.enrich.view import Recent, WikiView
from syncer.enrich.watermarks import Watermarks
from syncer.errors import Unusable
from syncer.faultpoints import at
from syncer.journal import Record, Topic, change_record, receipt_record
from syncer.model import HEAL, SCOPE
from syncer.outcome import Answers, Aside, Ask, Later, Publish, Question, Remove, Skip, SkipReason
from syncer.progress import PROGRESS_KEY
from syncer.receipts import HUB
from syncer.records import (
    BY_HAND,
    MARK_KEY,
    SetAside,
    decode_change,
    decode_mark,
    encode_set_aside,
    is_from_feed,
    remains,
    replayed,
)
from syncer.store import Divergence
from syncer.wire import encode_mutation, headers_of, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from syncer.enrich.pages import Pages
    from syncer.journal import Stored
    from syncer.model import Change, Mutation, Site
    from syncer.outcome import Outcome
    from syncer.progress import Progress
    from syncer.reconciled import Gap
    from syncer.store import Store

AT_ONCE = {SCOPE: 500, HEAL: 20}  # pages in a transaction, of changes of these streams: a text may have 2 MiB
RECEIPTS_AT_ONCE = 500  # who takes over has noted, as a standby, what was told of already: nothing waits for all of that


@dataclass(slots=True)
class Settler:
    """See the module. ``append`` commits to the journal and gives the offsets; ``context`` is made anew for every decision.

    ``told`` hears of every outcome, once it is committed or needs nothing but that. ``open`` are the keys of what stands set
    aside, with the wiki, by partition. ``partitions`` is how many the journal has; ``progress`` are those that are owned;
    ``rewrites`` and ``clean`` are as in Journal.
    """

    store: Store
    append: Callable[[Sequence[Record]], Sequence[int]]
    context: Callable[[], Context]
    clock: Callable[[], str]  # the time as ISO 8601
    told: Callable[[Change, Outcome], None]
    progress: dict[int, Progress]
    open: dict[int, dict[str, str]]
    generation: int
    partitions: int
    rewrites: bool = False
    clean: Callable[[], bool] = lambda: True
    pages: Pages | None = None  # where the topic of pages is kept
    tallies: Tallies = field(default_factory=Tallies)
    watermarks: Watermarks = field(init=False)
    recent: Recent = field(init=False)
    _closed: set[str] = field(default_factory=set)  # what was closed since the start: by hand, so not much
    _dirty: set[int] = field(default_factory=set)
    _closing: dict[int, list[Record]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with the wikis that the store knows."""
        context = self.context()
        self.recent, self.watermarks = Recent(context.young), Watermarks(self.partitions)
        for partition, progress in self.progress.items():
            progress.open_set_asides = Counter(self.open[partition].values())
        for wiki_id in self.store.wikis():
            self.watermarks.know(wiki_id)

    def view(self, wiki_id: str) -> WikiView:
        """A wiki's pages."""
        return WikiView(self.store, self.recent, wiki_id)

    # -- taking in ---------------------------------------------------------------------------------------------------

    def take_in(self, partition: int, records: Sequence[Stored], arrived: float) -> list[Item]:
        """Note what was read; what needs no asking is finished at once, the rest is returned."""
        progress, context = self.progress[partition], self.context()
        items: list[Item] = []
        sure: dict[str, list[Item]] = {stream: [] for stream in AT_ONCE}
        for record in records:
            if not progress.take_in(record.offset):
                continue
            self._dirty.add(partition)
            try:
                if record.key == MARK_KEY:
                    self.watermarks.mark(partition, record.offset, decode_mark(record.value))
                    progress.finish(record.offset)
                    continue
                change = decode_change(record.value)
            except (KeyError, TypeError, ValueError) as error:
                self._set_aside_raw(partition, record, error)
                continue
            if context.included(change):
                self.watermarks.know(change.wiki_id)
            item = Item(partition, record.offset, change, arrived)
            if change.source.stream in sure and len(change.page_ids) == 1:
                sure[change.source.stream].append(item)
                continue
            outcome = first_question(change, self.view(change.wiki_id), context)
            if isinstance(outcome, Ask):
                item.values = max(1, len(outcome.question.rev_ids) or len(outcome.question.titles))
                items.append(item)
            else:
                self._count(item, outcome)
                self.told(change, outcome)
        for stream, known in sure.items():
            for at_once in batched(known, AT_ONCE[stream]):
                items += self._publish_at_once(at_once)
        return items

    def _publish_at_once(self, items: Sequence[Item]) -> list[Item]:
        """Publish of pages of a wiki what is known without asking. Returns the items for which it has to be asked after all."""
        wiki_id, partition = items[0].change.wiki_id, items[0].partition
        batch = Making(partition, self.view(wiki_id), Frame(NOBODY, self.generation, self.clock()))
        done: dict[Item, Outcome] = {}
        with self.store.folding():
            for item in items:
                outcome: Outcome = self._known(item.change, batch.view)
                if isinstance(outcome, Publish) and self._publish(item, outcome, Answers(), batch) is not outcome:
                    continue  # the text is spoilt
                if not isinstance(outcome, Ask):
                    self._count(item, outcome)
                    done[item] = outcome
            if done:
                self._commit(batch, news=False)
        for item, outcome in done.items():
            self.told(item.change, outcome)
        return [item for item in items if item not in done]

    def _known(self, change: Change, view: WikiView) -> Publish | Skip | Ask:
        """What is to be done about a page of which nothing has to be asked: it is not wanted any more, or to be told again."""
        if change.source.stream == SCOPE:
            return left(change, view, self.context())
        (page_id,) = change.page_ids
        step = restated(view.page(page_id), has_text=view.has_text(page_id))
        return Publish((step,)) if step else Ask(Question())

    def _set_aside_raw(self, partition: int, record: Stored, error: Exception) -> None:
        detail = f"offset {record.offset} of changes is no change: {type(error).__name__}, {len(record.value)} bytes"
        entry = SetAside("bad_record", detail, self.clock(), raw=remains(record.value))
        counts = self.progress[partition].counts
        counts.set_aside["bad_record"] += 1
        counts.by_hand += not is_from_feed(record.value)
        self.progress[partition].finish(record.offset)
        aside = Record(Topic.SET_ASIDE, partition, f"offset:{record.offset}", encode_set_aside(entry))
        self.append([aside, *self._progress_records(partition)])

    def questions(self, items: Sequence[Item]) -> dict[Item, Question]:
        """What to ask about a batch as things are now; items that need no asking any more are finished."""
        context, questions = self.context(), {}
        for item in items:
            outcome = first_question(item.change, self.view(item.change.wiki_id), context)
            if isinstance(outcome, Ask):
                questions[item] = outcome.question
            else:
                self._count(item, outcome)
                self.told(item.change, outcome)
        return questions

    # -- settling ----------------------------------------------------------------------------------------------------

    def settle(self, items: Sequence[Item], answers: Answers, site: Site) -> list[tuple[Item, Outcome]]:
        """Decide a batch of one wiki, or the first part of it; fold and commit what follows.

        Items with Ask or Later are not finished. Those without an outcome have to be settled after this commit.
        """
        wiki_id, partition = items[0].change.wiki_id, items[0].partition
        bots = frozenset(rev_id for item in items if item.change.bot for rev_id in item.change.rev_ids)
        batch = Making(partition, self.view(wiki_id), Frame(site, self.generation, self.clock(), bots))
        outcomes: list[tuple[Item, Outcome]] = []
        self.recent.since = min(self.recent.since, self.context().now)
        with self.store.folding():
            self._rehydrate(batch.view, answers)
            for item in items:
                outcome = decide(item.change, answers, batch.view, self.context())
                left = bereft(item.change, answers, batch.view) if self.rewrites else frozenset[int]()
                if left and isinstance(outcome, Skip):
                    outcome = Publish(())
                if isinstance(outcome, Publish):
                    if batch.redacts_its_own(outcome, left):
                        break
                    outcome = self._publish(item, outcome, answers, batch, left)
                if isinstance(outcome, Aside):
                    batch.others.append(self._aside_record(item, outcome))
                self._count(item, outcome)
                outcomes.append((item, outcome))
                if not isinstance(outcome, Ask | Later):
                    self._note_missing(item.change, answers)
            finished = [(item, outcome) for item, outcome in outcomes if not isinstance(outcome, Ask | Later)]
            if finished:
                self._commit(batch)
        at("enrich-stored")
        for item, outcome in finished:
            self.told(item.change, outcome)
        return outcomes

    def _note_missing(self, change: Change, answers: Answers) -> None:
        """Remember which pages a change that is finished did not find, by title and by id."""
        names = {answers.canonical.get(title, title) for title in change.titles}
        missing: set[int | str] = {*(names & answers.missing_titles.keys()), *(answers.missing_page_ids & set(change.page_ids))}
        for page in missing:
            self.recent.note(change.wiki_id, page, self.context().now)

    def _commit(self, batch: Making, *, news: bool = True) -> None:
        """Append everything at once, and note where the mutations stand, and when that was where they are ``news``."""
        counts = self.progress[batch.partition].counts
        counts.mutations += Counter(mutation.kind.value for mutation in batch.mutations)
        counts.upstream_hash += sum(mutation.upstream_sha1 is not None for mutation in batch.mutations)
        at("enrich-settled")
        offsets = self.append([*batch.published, *batch.others, *self._progress_records(batch.partition)])
        now = self.context().now
        for mutation, offset in zip(batch.mutations, offsets, strict=False):
            telemetry.MUTATIONS.labels(mutation.kind.value).inc()
            self.store.publish(mutation, batch.partition, offset)
            self.store.debts.note(mutation, batch.partition, offset)
            if news:
                self.recent.note(mutation.wiki_id, mutation.page.page_id or 0, now)
        if batch.mutations:
            self.store.advance(batch.partition, offsets[len(batch.mutations) - 1] + 1)
            if self.pages:
                self.pages.note(batch)
        at("enrich-committed")

    def _rehydrate(self, view: WikiView, answers: Answers) -> None:
        """Put texts back that were evicted and fetched again as the base of a patch."""
        for page_id, page in answers.pages.items():
            state = view.page(page_id)
            if state and state.live and state.revision and (base := page.revisions.get(state.revision.rev_id)):
                missing = state.revision.visibility.text and not view.has_text(page_id)
                if missing and base.text is not None:
                    self.store.heal(view.wiki_id, page_id, base.text)

    def _publish(
        self, item: Item, publish: Publish, answers: Answers, batch: Making, left: frozenset[int] = frozenset()
    ) -> Publish | Skip | Aside | Ask:
        """Fold what is to be published; ask first for texts that it takes and that are not at hand."""
        told = [Told(step, item.change) for step in publish.steps]
        if self.rewrites:
            needed = lasting(publish.steps, item.change, batch.view, batch.whole, left)
            missing = texts(needed, batch.view)
            if question := missing - answers.asked:
                return Ask(question)
            told = told if missing else needed  # the wiki has not even answered: what is hidden does not wait for that
        return self._fold(told, batch, left) or (publish if told else Skip(SkipReason.UNCHANGED))

    def _fold(self, told: Sequence[Told], batch: Making, left: frozenset[int] = frozenset()) -> Aside | None:
        """Compose and fold the steps of one change; all of them or none."""
        view = batch.view
        mutations: list[Mutation] = []
        records: list[Record] = []
        try:
            with self.store.attempt():
                for step, change in told:
                    page_id = step.page.page_id or 0
                    text = None if isinstance(step, Remove) else self.store.text(view.wiki_id, page_id)
                    mutation = compose(step, change, Published(view.page(page_id), text, view.recall), batch.frame)
                    value, headers = encode_mutation(mutation), headers_of(mutation)
                    self.store.fold(mutation)
                    view.changed()
                    mutations.append(mutation)
                    erases = erasures(mutation, left) if self.rewrites else ()
                    records.append(Record(Topic.MUTATIONS, batch.partition, key_of(mutation), value, headers, erases))
        except (Unusable, Divergence) as error:
            view.changed()  # back to what it was
            return Aside(error.reason if isinstance(error, Unusable) else "diverged", str(error))
        batch.mutations += mutations
        batch.published += records
        batch.whole |= {one.page.page_id or 0 for one in mutations if one.gap and one.text is not None}
        return None

    def set_aside(self, items: Sequence[Item], reason: str, detail: str) -> None:
        """Set changes aside, all for one reason, and commit that."""
        aside = Aside(reason, detail)
        for partition in {item.partition for item in items}:
            own = [item for item in items if item.partition == partition]
            for item in own:
                self._count(item, aside)
            self.append([*(self._aside_record(item, aside) for item in own), *self._progress_records(partition)])
            for item in own:
                self.told(item.change, aside)

    def replay(self, changes: Sequence[Change]) -> None:
        """Append changes that were set aside anew, each to close the entry it was set aside as."""
        self.append([change_record(replayed(change, str(uuid4()), self.clock()), self.partitions) for change in changes])

    def flush(self) -> None:
        """Commit the progress of partitions where something was finished without a mutation, and what the hub has honoured."""
        for partition in sorted(self._dirty):
            self.append(self._progress_records(partition))
        if (receipts := self.store.debts.first(RECEIPTS_AT_ONCE)) and self.store.clean() and self.clean():
            self.append([receipt_record(replace(one, mirror=HUB, honoured_at=self.clock())) for one in receipts])
            self.store.debts.paid(receipts)

    def append_with(self, partition: int, records: Sequence[Record]) -> Sequence[int]:
        """Append records together with the progress of a partition."""
        return self.append([*records, *self._progress_records(partition)])

    def unfinished(self) -> dict[int, int]:
        """From which offset on changes are not finished, by partition, as it is committed."""
        self.flush()
        return {partition: progress.lowest_unfinished for partition, progress in self.progress.items()}

    # -- records -----------------------------------------------------------------------------------------------------

    def _aside_record(self, item: Item, aside: Aside) -> Record:
        headers = {"wiki": item.change.wiki_id, "reason": aside.reason}
        value = encode_set_aside(SetAside(aside.reason, aside.detail, self.clock(), item.change))
        return Record(Topic.SET_ASIDE, item.partition, _key(item.change), value, headers)

    def _progress_records(self, partition: int) -> list[Record]:
        """The progress of a partition, what was closed by it, and what it means for its wikis' watermarks."""
        self._dirty.discard(partition)
        progress = self.progress[partition]
        records = [*self._closing.pop(partition, ()), Record(Topic.PROGRESS, partition, PROGRESS_KEY, progress.encode())]
        return [*records, *self.tallies.records(partition), *self.watermarks.records(partition, progress)]

    def learn(self, gaps: tuple[Gap, ...], filled: Mapping[str, frozenset[Gap]], unread: Mapping[str, Gap] | None = None) -> None:
        """Take note of the gaps that the feed has, of those that are closed, by wiki, and of what was passed over of each."""
        marks, unread = self.watermarks, unread or {}
        if (gaps, filled, unread) != (marks.gaps, marks.filled, marks.unread):
            marks.gaps, marks.filled, marks.unread = gaps, filled, unread
            self._dirty.update(self.progress)

    # -- counting ----------------------------------------------------------------------------------------------------

    def _count(self, item: Item, outcome: Outcome) -> None:
        """Count an outcome and note the change as finished; Ask and Later are no outcome yet."""
        progress, change = self.progress[item.partition], item.change
        if isinstance(outcome, Ask | Later):
            return
        progress.counts.count(outcome)
        self.tallies.changing(item.partition, change.wiki_id).counts.count(outcome)
        progress.counts.by_hand += change.source.stream in BY_HAND
        self._open_or_close(item, opened=isinstance(outcome, Aside))
        progress.finish(item.offset)
        self._dirty.add(item.partition)

    def note_open(self, partition: int, entries: Mapping[str, str], known: frozenset[str] = frozenset()) -> None:
        """Take note of what was read to stand set aside, by key, with the wiki: ingest sets things aside, too, and a person
        closes what was. ``known`` is what stood there before it was read.
        """
        count, keys = self.progress[partition].open_set_asides, self.open[partition]
        for key in known - entries.keys():
            if wiki_id := keys.pop(key, None):
                count[wiki_id] -= 1
                self._dirty.add(partition)
        for key, wiki_id in entries.items():
            if wiki_id and key not in keys and key not in self._closed:
                keys[key] = wiki_id
                count[wiki_id] += 1
                self.watermarks.know(wiki_id)
                self._dirty.add(partition)

    def _open_or_close(self, item: Item, *, opened: bool) -> None:
        """Keep account of what stands set aside. A replay that fails leaves open what it was to close; one may come twice."""
        change, keys, count = item.change, self.open[item.partition], self.progress[item.partition].open_set_asides
        if opened:
            self._closed.discard(_key(change))
            count[change.wiki_id] += _key(change) not in keys
            keys[_key(change)] = change.wiki_id
        elif change.replay_of and change.replay_of not in self._closed:
            entry = SetAside("closed", "", self.clock(), closed_by=change.change_id)
            headers = {"wiki": change.wiki_id, "reason": "closed"}
            record = Record(Topic.SET_ASIDE, item.partition, change.replay_of, encode_set_aside(entry), headers)
            self._closing.setdefault(item.partition, []).append(record)
            count[change.wiki_id] -= keys.pop(change.replay_of, None) is not None
            self._closed.add(change.replay_of)


def _key(change: Change) -> str:
    """What a change stands set aside under: a replay under that of what it replays."""
    return change.replay_of or change.change_id
