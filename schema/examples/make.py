"""Write the example records: ``python schema/examples/make.py``.

They tell the life of one page, in order: a reader that applies them one after the other goes through everything that can
happen to it. The last file is the first record once more, as it stands after it was rewritten in place.
"""  # noqa: INP001 - a script beside its output

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncer import diff, sections
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
from syncer.wire import encode_mutation, erase, headers_of, key_of

WIKI, DOMAIN = "testwiki", "test.wikipedia.org"
LICENCE = Licence("https://creativecommons.org/licenses/by-sa/4.0/", "Creative Commons Attribution-Share Alike 4.0")
ROCK = PageFacts(736, "Beacon Rock", 0)
DRAFT = PageFacts(736, "Draft:Beacon Rock Light", 118)
MOVED = PageFacts(736, "Beacon Rock Light", 0)

STUB = "'''Beacon Rock''' is an island.\n\n== History ==\nThe lighthouse was built in 1811.\n"
FIRST = STUB.replace("1811", "1812") + "\n== Notes ==\n灯台 means ''lighthouse''.\n"
SECOND = FIRST.replace("is an island", "is a small island in the Sound of Storms")
WHOLE = "'''Beacon Rock''' bears a lighthouse. All that was said here before had no source.\n"
RUDE = WHOLE + "\nSomething that nobody should have to read.\n"


class Life:
    """Counts what is told of the page."""

    def __init__(self) -> None:
        self.seq, self.rev_id, self.minute = 0, 1100, 0
        self.told: list[tuple[str, Mutation]] = []
        self.revision: RevisionFacts | None = None

    def tell(self, name: str, kind: Kind, cause: Cause, page: PageFacts, **parts: Any) -> Mutation:
        """One more mutation, with who made it and when."""
        self.seq += 1
        self.minute += 7
        hour, at = f"{9 + self.minute // 60:02}", f"{self.minute % 60:02}"
        stream = "mediawiki.revision-visibility-change" if cause is Cause.VISIBILITY else "mediawiki.recentchange"
        number = len(self.told) + 1
        event_id = f"5e1f0c5e-7c1a-4d6b-9a53-{number:012}"
        defaults = {
            "seq": self.seq, "kind": kind, "cause": cause, "wiki_id": WIKI, "domain": DOMAIN, "page": page,
            "source": Source(stream, event_id, f"2026-11-02T{hour}:{at}:10Z", f"2026-11-02T{hour}:{at}:10.480Z"),
            "published_at": f"2026-11-02T{hour}:{at}:12.065Z",
        }  # fmt: skip
        mutation = Mutation(**{**defaults, **parts})
        self.told.append((f"{number:02}-{name}", mutation))
        return mutation

    def revise(self, text: str | None, **parts: Any) -> RevisionFacts:
        """The facts of the next revision, with this text."""
        parent = self.revision.rev_id if self.revision else 0
        self.rev_id += 1
        data = (text or "").encode()
        facts = {
            "rev_id": self.rev_id, "rev_parent_id": parent, "timestamp": f"2026-11-02T09:{self.minute % 60:02}:10Z",
            "size": len(data), "sha1": None if text is None else sha1(text), "content_model": "wikitext", "minor": False,
            "bot": False, "tags": (), "visibility": VISIBLE,
        }  # fmt: skip
        self.revision = RevisionFacts(**{**facts, **parts})
        return self.revision


def sha1(text: str) -> str:
    """As announced."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def by(rev_id: int, editor: str | None, comment: str | None, page: PageFacts = ROCK) -> Attribution:
    """Whom a reader has to name."""
    url = f"https://{DOMAIN}/wiki/{page.title.replace(' ', '_')}?oldid={rev_id}"
    return Attribution(LICENCE, url, editor, comment)


def change(base: RevisionFacts, old: str, new: str) -> dict[str, Any]:
    """Base, patch and sections."""
    ops = diff.FORMATS["splice/1"].compute(old.encode(), new.encode())
    told = sections.changed(old.encode(), new.encode())
    return {"base": Base(base.rev_id, str(base.sha1)), "patch": Patch("splice/1", ops), "sections": told}


def live() -> Life:
    """From the first sight of the page to the last."""
    life = Life()
    stub = life.revise(STUB)
    first = life.revise(FIRST, tags=("visualeditor",))
    life.tell(
        "first-sight", Kind.SNAPSHOT, Cause.EDIT, ROCK, revision=first, text=FIRST.encode(), gap=True,
        attribution=by(first.rev_id, "Keeper", "the year, by the almanac; a note"), **change(stub, STUB, FIRST),
    )  # fmt: skip
    second = life.revise(SECOND, minor=True)
    life.tell(
        "edit", Kind.PATCH, Cause.EDIT, ROCK, revision=second,
        attribution=by(second.rev_id, "192.0.2.44", ""), **change(first, FIRST, SECOND),
    )  # fmt: skip
    whole = life.revise(WHOLE, bot=True)
    compared = {**change(second, SECOND, WHOLE), "patch": None}
    life.tell(
        "rewritten", Kind.SNAPSHOT, Cause.EDIT, ROCK, revision=whole, text=WHOLE.encode(),
        attribution=by(whole.rev_id, "TidyBot", "removed what has no source"), **compared,
    )  # fmt: skip
    moved = life.revise(WHOLE, minor=True)
    life.tell(
        "move", Kind.PATCH, Cause.MOVE, MOVED, prior=Prior(title=ROCK.title), revision=moved,
        base=Base(whole.rev_id, str(whole.sha1)), patch=Patch("splice/1", ()),
        attribution=by(moved.rev_id, "Custodian", "Custodian moved page [[Beacon Rock]] to [[Beacon Rock Light]]", MOVED),
    )  # fmt: skip
    gone = Visibility(text=False, user=False, comment=True)
    life.tell(
        "redact", Kind.REDACT, Cause.VISIBILITY, MOVED, revision=moved, redacted=(Redacted(second.rev_id, gone, ((3, 72),)),),
        attribution=life.told[-1][1].attribution,
    )  # fmt: skip
    rude = life.revise(RUDE)
    life.tell(
        "another-edit", Kind.PATCH, Cause.EDIT, MOVED, revision=rude,
        attribution=by(rude.rev_id, "192.0.2.45", "ha", MOVED), **change(moved, WHOLE, RUDE),
    )  # fmt: skip
    nothing = Visibility(text=False, user=False, comment=False)
    hidden = replace(rude, sha1=None, visibility=nothing)
    life.tell(
        "hidden-text", Kind.SNAPSHOT, Cause.VISIBILITY, MOVED, revision=hidden, text=None,
        redacted=(Redacted(rude.rev_id, nothing, ((3, 78),)),), attribution=by(rude.rev_id, None, None, MOVED),
    )  # fmt: skip
    life.revision = moved
    cleared = life.revise(WHOLE, rev_parent_id=rude.rev_id)
    life.tell(
        "after-hidden-text", Kind.SNAPSHOT, Cause.EDIT, MOVED, revision=cleared, text=WHOLE.encode(), gap=True,
        attribution=by(cleared.rev_id, "Keeper", "reverted", MOVED),
    )  # fmt: skip
    drafted = life.revise(WHOLE, minor=True)
    life.tell(
        "namespace", Kind.SNAPSHOT, Cause.MOVE, DRAFT, prior=Prior(title=MOVED.title, namespace=0), revision=drafted,
        text=WHOLE.encode(), gap=True, attribution=by(drafted.rev_id, "Custodian", "needs sources", DRAFT),
    )  # fmt: skip
    life.tell("delete", Kind.DELETE, Cause.DELETE, DRAFT)
    life.tell(
        "undelete", Kind.SNAPSHOT, Cause.UNDELETE, DRAFT, revision=drafted, text=WHOLE.encode(), gap=True,
        attribution=by(drafted.rev_id, "Custodian", "needs sources", DRAFT),
    )  # fmt: skip
    odd = "0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33"
    life.tell(
        "repair", Kind.SNAPSHOT, Cause.REPAIR, DRAFT, revision=drafted, text=WHOLE.encode(), gap=True, upstream_sha1=odd,
        attribution=replace(by(drafted.rev_id, "Custodian", "needs sources", DRAFT), licence=None),
    )  # fmt: skip
    number, seq = len(life.told) + 1, 1
    nameless = life.tell("delete-by-title", Kind.DELETE, Cause.DELETE, PageFacts(None, "Never heard of", 0), seq=seq)
    life.told[number - 1] = (f"{number:02}-delete-by-title", nameless)
    return life


def record(mutation: Mutation, *, erased: bool = False) -> dict[str, Any]:
    """As ``syncer journal read`` writes it, but for the place."""
    value = encode_mutation(mutation)
    if erased and mutation.revision:
        value = erase(value, mutation.revision.rev_id, Visibility(text=False))
    return {"key": key_of(mutation), "headers": headers_of(mutation), "value": json.loads(value)}


def main() -> None:
    """Write all of them beside this file."""
    folder = Path(__file__).parent
    told = live().told
    records = {name: record(mutation) for name, mutation in told}
    records[f"{len(told) + 1:02}-erased"] = record(told[0][1], erased=True)
    for name, content in records.items():
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
