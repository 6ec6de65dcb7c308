"""Mutations of one page, made the way the hub makes them: each builds on the one before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from syncer import diff
from syncer.model import (
    VISIBLE,
    Attribution,
    Base,
    Cause,
    Kind,
    Licence,
    Mutation,
    PageFacts,
    Patch,
    Prior,
    Redacted,
    RevisionFacts,
    Source,
    Visibility,
)

HIDDEN = Visibility(text=False, user=False, comment=False)
AT = "2026-11-02T10:00:00.000Z"
SOURCE = Source(
    "mediawiki.recentchange", "0d9c2a4e-0000-4000-8000-000000000001", "2026-11-02T09:59:58Z", "2026-11-02T09:59:59.123Z"
)
LICENCE = Licence("https://creativecommons.org/licenses/by-sa/4.0/", "Creative Commons Attribution-Share Alike 4.0")


def sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


def revision(rev_id: int, text: bytes | None, parent: int = 0, **parts: Any) -> RevisionFacts:
    """The facts of a revision; without a text, of one whose text is hidden."""
    facts: dict[str, Any] = {
        "rev_id": rev_id,
        "rev_parent_id": parent,
        "timestamp": "2026-11-02T09:59:58Z",
        "size": 0 if text is None else len(text),
        "sha1": None if text is None else sha1(text),
        "content_model": "wikitext",
        "minor": False,
        "bot": False,
        "tags": (),
        "visibility": VISIBLE if text is not None else Visibility(text=False),
    }
    return RevisionFacts(**{**facts, **parts})


@dataclass
class Pages:
    """Numbers the mutations of pages of one wiki, and knows the texts they lead to."""

    wiki_id: str = "testwiki"
    domain: str = "test.wikipedia.org"
    last_rev_id: int = 100

    def __post_init__(self) -> None:
        self.seqs: dict[int, int] = {}
        self.texts: dict[int, bytes | None] = {}
        self.revisions: dict[int, RevisionFacts] = {}

    def snapshot(self, page_id: int, title: str, text: bytes | None, **parts: Any) -> Mutation:
        """The whole text, replacing whatever there is; ``gap=False`` builds on what there is. None where it is hidden."""
        facts = self._next(page_id, text)
        return self._mutation(page_id, title, Kind.SNAPSHOT, **{"revision": facts, "text": text, "gap": True, **parts})

    def patch(self, page_id: int, title: str, text: bytes, **parts: Any) -> Mutation:
        """From the text before to this one."""
        before, old = self.texts[page_id], self.revisions[page_id]
        assert before is not None
        assert old.sha1
        if text == before:
            return self._mutation(
                page_id,
                title,
                Kind.PATCH,
                **{"revision": old, "base": Base(old.rev_id, old.sha1), "patch": Patch("splice/1", ()), **parts},
            )
        ops = diff.FORMATS["splice/1"].compute(before, text)
        facts = self._next(page_id, text)
        return self._mutation(
            page_id, title, Kind.PATCH,
            **{"revision": facts, "base": Base(old.rev_id, old.sha1), "patch": Patch("splice/1", ops), **parts},
        )  # fmt: skip

    def delete(self, page_id: int | None, title: str, **parts: Any) -> Mutation:
        """The page is gone."""
        if page_id is not None:
            self.texts.pop(page_id, None)
        return self._mutation(page_id, title, Kind.DELETE, **{"cause": Cause.DELETE, "attribution": None, **parts})

    def redact(self, page_id: int, title: str, *redacted: Redacted, **parts: Any) -> Mutation:
        """Only the visibility of some revisions changed."""
        facts = self.revisions[page_id]
        for entry in redacted:
            if entry.rev_id == facts.rev_id:
                facts = self.revisions[page_id] = replace(facts, visibility=entry.visibility)
        return self._mutation(
            page_id, title, Kind.REDACT, **{"cause": Cause.VISIBILITY, "revision": facts, "redacted": redacted, **parts}
        )

    def _next(self, page_id: int, text: bytes | None) -> RevisionFacts:
        self.last_rev_id += 1
        parent = self.revisions[page_id].rev_id if page_id in self.revisions else 0
        self.texts[page_id] = text
        self.revisions[page_id] = revision(self.last_rev_id, text, parent)
        return self.revisions[page_id]

    def _mutation(self, page_id: int | None, title: str, kind: Kind, **parts: Any) -> Mutation:
        self.seqs[page_id or 0] = seq = self.seqs.get(page_id or 0, 0) + 1
        attribution = Attribution(LICENCE, f"https://{self.domain}/wiki/{title}?oldid={self.last_rev_id}", "Ada", "a comment")
        defaults: dict[str, Any] = {
            "seq": seq, "kind": kind, "cause": Cause.EDIT, "wiki_id": self.wiki_id, "domain": self.domain,
            "page": PageFacts(page_id, title, 0), "source": SOURCE, "published_at": AT, "attribution": attribution,
        }  # fmt: skip
        return Mutation(**{**defaults, **parts})


def moved(mutation: Mutation, prior: Prior) -> Mutation:
    """The same, saying what was before."""
    return replace(mutation, cause=Cause.MOVE, prior=prior)
