from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from syncer.enrich.erasing import lasting
from syncer.model import Cause, Change, PageFacts, Redacted, Source, Visibility
from syncer.outcome import Bring, Redact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from syncer.enrich.view import WikiView

HIDDEN = Visibility(text=False, user=True, comment=True)
SOURCE = Source("s", "id", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")
CHANGE = Change(wiki_id="testwiki", domain="test.example", cause=Cause.VISIBILITY, source=SOURCE)


class Pages:
    """Pages that hold revision 7: by id, their title, whether they live, and the revision that is published."""

    def __init__(self, **pages: tuple[str, bool, int]) -> None:
        self.pages = {
            int(name[1:]): SimpleNamespace(
                title=title, namespace=0, is_redirect=False, live=live, revision=SimpleNamespace(rev_id=rev_id) if live else None
            )
            for name, (title, live, rev_id) in pages.items()
        }

    def holders(self, rev_ids: Collection[int]) -> set[int]:
        return set(self.pages) if 7 in rev_ids else set()

    def hidden(self, _rev_ids: Iterable[int]) -> dict[int, Visibility]:
        return {}

    def page(self, page_id: int) -> Any:
        return self.pages.get(page_id)


def told(pages: Pages, *steps: Bring | Redact, whole: Collection[int] = ()) -> list[tuple[str, int | None, Cause]]:
    found = lasting(steps, CHANGE, cast("WikiView", pages), whole)
    return [(type(each.step).__name__, each.step.page.page_id, each.change.cause) for each in found]


def redact(page_id: int, title: str) -> Redact:
    return Redact(PageFacts(page_id, title, 0, is_redirect=False), None, (Redacted(7, HIDDEN),))


def test_a_page_whose_records_are_erased_comes_whole_and_so_does_every_other() -> None:
    pages = Pages(p1=("A", True, 8), p2=("B", True, 9))
    assert told(pages, redact(1, "A")) == [("Bring", 1, Cause.VISIBILITY), ("Bring", 2, Cause.REPAIR)]
    assert told(pages, redact(1, "A"), whole=(1, 2)) == [("Redact", 1, Cause.VISIBILITY)]


def test_one_that_is_gone_does_not_come_back() -> None:
    pages = Pages(p1=("A", False, 0), p2=("B", False, 0))
    assert told(pages, redact(1, "A")) == [("Redact", 1, Cause.VISIBILITY)]


def test_one_whose_title_is_taken_by_the_same_change_does_not_take_it_back() -> None:
    pages = Pages(p1=("A", True, 8), p2=("B", True, 9))
    moved = Bring(PageFacts(1, "B", 0, is_redirect=False), None, None, gap=False, redacted=(Redacted(7, HIDDEN),))
    assert told(pages, moved) == [("Bring", 1, Cause.VISIBILITY)]
    assert told(pages, moved, redact(2, "")) == [("Bring", 1, Cause.VISIBILITY), ("Bring", 2, Cause.VISIBILITY)]


def test_one_that_is_still_published_with_what_is_hidden_is_not_published_again() -> None:
    pages = Pages(p1=("A", True, 8), p2=("B", True, 7))
    assert told(pages, redact(1, "A")) == [("Bring", 1, Cause.VISIBILITY)]
