"""Every way a page can change, as a real MediaWiki told of it and answered: what is published, whichever streams are read.

The recordings (tests/e2e/record.py makes them) go through the decoders and the client's reading of answers, and are decided on a
hub's state that the answers of before have made. What is right stands in :data:`PUBLISHED`, thought out kind by kind.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from syncer.feed.decode import decode, identify
from syncer.feed.event import Envelope
from syncer.fetch.pages import Gathered
from syncer.model import VISIBLE, Answer, Cause, Change, Mutation
from tests.desk import Desk, change
from tests.e2e.lab.edits import drawn
from tests.e2e.lab.lifecycle import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from syncer.outcome import Question

RECORDINGS = Path(__file__).parent / "lifecycle"
RECENT_CHANGE = ("mediawiki.recentchange",)
PAGE_CHANGE = ("mediawiki.page_change.v1", "mediawiki.revision-create", "mediawiki.revision-visibility-change")

# What is published, mutation by mutation: cause, kind, title, revision (in the order of their ids; ``+gap`` replaces whatever a
# reader has) and what else it states. Where the streams tell it differently: by recentchange, and by the other three.
PUBLISHED: dict[str, list[str] | tuple[list[str], list[str]]] = {
    "create": ["create snapshot+gap A r1"],
    "edit": ["edit patch A r2"],
    "minor": ["edit patch A r2 minor"],
    "bot_edit": ["edit patch A r2 bot"],
    "null_edit": [],
    "two_in_one_second": ["edit patch A r2", "edit patch A r3"],
    "blank": ["edit snapshot A r2"],  # no patch is shorter than nothing
    # Whether a rollback is a bot's was said of the change, not of who made it: no other stream has it.
    "rollback": (["edit snapshot A r4 minor bot"], ["edit snapshot A r4 minor"]),
    "redirect": ["edit snapshot A r3 redirect"],
    "retarget": ["edit patch A r3 redirect"],
    "unredirect": ["edit snapshot A r2"],
    # What is left behind comes before what moved: it takes the title. page_change tells of it first, and of the move as well.
    "move": (
        ["move snapshot+gap A r3 redirect", "move patch B r2 minor, was A"],
        ["create snapshot+gap A r3 redirect", "create patch B r2 minor, was A"],
    ),
    "move_without_redirect": ["move patch B r2 minor, was A"],
    "move_over_redirect": (
        ["move delete A redirect", "move snapshot+gap B r5 redirect", "move patch A r4 minor, was B"],
        ["delete delete A redirect", "create snapshot+gap B r5 redirect", "create patch A r4 minor, was B"],
    ),
    "move_with_talk_and_subpages": (
        [
            *("move snapshot+gap User:A r6 redirect", "move patch User:B r5 minor, was User:A"),
            *("move snapshot+gap User talk:A r8 redirect", "move patch User talk:B r7 minor, was User talk:A"),
            *("move snapshot+gap User:A/sub r10 redirect", "move patch User:B/sub r9 minor, was User:A/sub"),
            *("move snapshot+gap User talk:A/sub r12 redirect", "move patch User talk:B/sub r11 minor, was User talk:A/sub"),
        ],
        [
            *("create snapshot+gap User:A r6 redirect", "create patch User:B r5 minor, was User:A"),
            *("create snapshot+gap User talk:A r8 redirect", "create patch User talk:B r7 minor, was User talk:A"),
            *("create snapshot+gap User:A/sub r10 redirect", "create patch User:B/sub r9 minor, was User:A/sub"),
            *("create snapshot+gap User talk:A/sub r12 redirect", "create patch User talk:B/sub r11 minor, was User talk:A/sub"),
        ],
    ),
    # A text that enters a namespace is whole, for those who did not have it.
    "move_across_namespaces": (
        ["move snapshot+gap User:A r3 redirect", "move snapshot+gap A r2 minor, was User:A, was in 2"],
        ["create snapshot+gap User:A r3 redirect", "create snapshot+gap A r2 minor, was User:A, was in 2"],
    ),
    "delete": ["delete delete A"],
    # By its title alone the deleted page is not to be found any more: the new one there shows that it is gone.
    "recreate": ["delete delete A", "create snapshot+gap A r2"],
    "undelete": ["undelete snapshot+gap A r2"],
    "undelete_under_new_id": ["undelete snapshot+gap A r2"],
    "undelete_partly": ["undelete snapshot+gap A r1"],
    "undelete_into_page": (["undelete patch A r2"], ["edit patch A r2"]),  # page_change is silent, the revision is told again
    "protect": (["protect patch A r2 minor"], ["edit patch A r2 minor"]),
    "import_new": (["import snapshot+gap A r3 minor"], ["create snapshot+gap A r3 minor"]),
    "import_under": (["import patch A r4 minor"], ["create patch A r4 minor"]),
    "merge": (["merge snapshot A r4 redirect"], ["edit snapshot A r4 redirect"]),
    "merge_partly": [],  # neither page's current text is another
    "upload": (["upload snapshot+gap File:A.png r1"], ["create snapshot+gap File:A.png r1"]),
    "upload_again": (["upload patch File:A.png r2"], ["edit patch File:A.png r2"]),
    "file_revert": (["upload patch File:A.png r3"], ["edit patch File:A.png r3"]),
    "content_model": ["edit patch A r2 json"],
    "json_page": ["edit patch A r2 json"],
    "css_page": ["edit patch User:Alice/A.css r2 css"],
    "javascript_page": ["edit patch User:Alice/A.js r2 javascript"],
    "lua_page": ["edit patch Module:A r2 Scribunto"],
    "second_slot": ["edit patch A r2"],  # of no text
    "both_slots": ["edit patch A r2"],
    "hide": ["visibility redact A r2, r1 without text, comment"],
    "show": ["visibility redact A r2, r1 whole"],
    # Nothing is said on recentchange (PROTOCOL c).
    "suppress": ([], ["visibility redact A r2, r1 without text, user, comment"]),
    "suppress_current": ([], ["visibility redact A r2, r2 without user, comment"]),
    "suppress_page": ([], ["delete delete A"]),
    # Not recorded, as no lab has them: made by the word of PROTOCOL 14, 18 and 22.
    "wikibase_item": ["edit patch Q42 r2 wikibase-item"],
    "mediainfo": ["edit patch File:A.jpg r2"],
}
UNRECORDED = {"wikibase_item", "mediainfo"}


class Answers:
    """What the wiki answered at one moment, value by value; it answers only what was recorded."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        self.recorded = recorded

    def answers(self, question: Question) -> Iterator[tuple[Question, Answer]]:
        """A question kind by kind, each with its answer."""
        nothing = question - question
        asked = (("revids", "rev_ids"), ("titles", "titles"), ("pageids", "page_ids"))
        for name, field in asked:
            if values := getattr(question, field):
                gathered = Gathered()
                for value in values:
                    gathered.add(self.recorded[f"{name}={value}"])
                yield replace(nothing, **{field: values}), gathered.answer(values if name == "titles" else ())

    def values(self, name: str) -> list[int]:
        """Which pages or revisions are answered for."""
        return sorted(int(asked.partition("=")[2]) for asked in self.recorded if asked.startswith(f"{name}="))

    def facts(self) -> dict[int, tuple[str, int, bool, int]]:
        """The pages that there are: title, namespace, redirect, current revision."""
        pages = [page for query in self.recorded.values() for page in query.get("pages", ()) if "lastrevid" in page]
        return {page["pageid"]: (page["title"], page["ns"], page.get("redirect", False), page["lastrevid"]) for page in pages}


@dataclass(frozen=True)
class Recording:
    """One kind: its events, and the answers of before (of each moment) and after."""

    kind: str
    events: tuple[dict[str, Any], ...]
    before: tuple[Answers, ...]
    after: Answers

    @classmethod
    def read(cls, kind: str) -> Recording:
        taken = json.loads((RECORDINGS / f"{kind}.json").read_text())
        return cls(kind, tuple(taken["events"]), tuple(map(Answers, taken["before"])), Answers(taken["after"]))

    def changes(self, streams: Iterable[str]) -> list[Change]:
        """What the decoders make of the events on these streams, stream by stream: among each other they have no order."""
        found = []
        for stream in streams:
            for event in (one for one in self.events if one["meta"]["stream"] == stream):
                envelope = identify(orjson.dumps(event))
                assert isinstance(envelope, Envelope)
                outcome = decode(envelope, event["meta"]["dt"])
                assert isinstance(outcome, Change)
                found.append(replace(outcome, wiki_id="enwiki"))
        return found

    @property
    def at(self) -> float:
        """When it happened, in seconds since the epoch."""
        return max((datetime.fromisoformat(event["meta"]["dt"]).timestamp() for event in self.events), default=2e9)

    def name(self, title: str) -> str:
        """A title as :data:`PUBLISHED` has it."""
        return title.replace(f"{self.kind.replace('_', ' ').capitalize()} ", "")

    def tell(self, mutation: Mutation) -> str:
        """A mutation in the words of :data:`PUBLISHED`."""
        number = {rev_id: f"r{n}" for n, rev_id in enumerate(self.after.values("revids"), 1)}
        facts, prior = mutation.revision, mutation.prior
        words = [mutation.cause, mutation.kind + "+gap" * mutation.gap, self.name(mutation.page.title)]
        words += ["redirect"] * (mutation.page.is_redirect and facts is None)
        if facts:
            flags = {"redirect": mutation.page.is_redirect, "minor": facts.minor, "bot": facts.bot}
            flags[facts.content_model] = facts.content_model != "wikitext"
            words += [number[facts.rev_id], *(flag for flag, is_set in flags.items() if is_set)]
        told = [" ".join(words)]
        told += [f"was {self.name(prior.title)}"] if prior and prior.title else []
        told += [f"was in {prior.namespace}"] if prior and prior.namespace is not None else []
        for one in mutation.redacted:
            seen = one.visibility
            hidden = [name for name in ("text", "user", "comment") if not getattr(seen, name)]
            told.append(f"{number[one.rev_id]} " + ("whole" if seen == VISIBLE else f"without {', '.join(hidden)}"))
        return ", ".join(told)


def play(recording: Recording, streams: Iterable[str], *, known: bool = True) -> tuple[Desk, list[Mutation]]:
    """Let a hub hear of it that knew the pages before, or nothing; and what it published of that."""
    desk = Desk(now=recording.at - 1000 * (1 + len(recording.before)))
    for moment in recording.before if known else ():
        pages, revisions = ({name: moment.values(f"{name}ids")} for name in ("page", "rev"))
        desk.settle(moment, change(Cause.RECONCILE, **pages), change(Cause.RECONCILE, **revisions))
        desk.now += 1000
    desk.now = recording.at + 1
    published_before = len(desk.mutations)
    desk.settle(recording.after, *recording.changes(streams))
    return desk, desk.mutations[published_before:]


def published(kind: str) -> tuple[list[str], list[str]]:
    """What is right by recentchange, and by the other streams."""
    right = PUBLISHED[kind]
    return right if isinstance(right, tuple) else (right, right)


def test_every_kind_is_recorded_and_thought_out_and_drawn_at_random() -> None:
    assert {path.stem for path in RECORDINGS.glob("*.json")} == KINDS.keys() | UNRECORDED == PUBLISHED.keys()
    assert KINDS.keys() <= set(drawn(1000, 1))


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize(
    "streams", [RECENT_CHANGE, PAGE_CHANGE, RECENT_CHANGE + PAGE_CHANGE], ids=["recentchange", "page_change", "all"]
)
def test_what_is_published(kind: str, streams: tuple[str, ...]) -> None:
    recording = Recording.read(kind)
    desk, mutations = play(recording, streams)
    made = [recording.tell(mutation) for mutation in mutations]
    by_recentchange, by_page_change = published(kind)
    if streams == RECENT_CHANGE:
        assert made == by_recentchange
    elif streams == PAGE_CHANGE:
        assert made == by_page_change
    else:  # whichever stream was first is the cause
        assert [told.partition(" ")[2].replace(" bot", "") for told in made] in [
            [told.partition(" ")[2].replace(" bot", "") for told in right] for right in (by_recentchange, by_page_change)
        ]
    desk.close()


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("streams", [RECENT_CHANGE, PAGE_CHANGE], ids=["recentchange", "page_change"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_what_is_published_is_what_the_wiki_has(kind: str, streams: tuple[str, ...], *, known: bool) -> None:
    recording = Recording.read(kind)
    desk, _ = play(recording, streams, known=known)
    true = recording.after.facts()
    if recording.changes(streams):
        found = {page_id: page[:4] for page_id, page in desk.live().items()}
        before = recording.before[-1].facts()
        least = true if known else {page_id: page for page_id, page in true.items() if before.get(page_id) != page}
        assert least.items() <= found.items() <= true.items()
    for mutation in desk.mutations:
        assert mutation.upstream_sha1 is None, "the wiki's hash is of this text, and not of another slot's with it"
        if mutation.revision and mutation.revision.sha1 and mutation.text is not None:
            assert hashlib.sha1(mutation.text, usedforsecurity=False).hexdigest() == mutation.revision.sha1
    desk.close()
