"""Records every way a page can change, as a real MediaWiki shows it, for the unit tests of what is decided.

    python -m tests.e2e.record [KIND ...]      into tests/unit/lifecycle/, one file a kind; all of them without a name

A recording holds the events of each stream, in the order in which they came, and what the API answers to the questions that
syncer asks: about every page and revision at each moment before (``before``), and about every title, page and revision that is
concerned after (``after``). The events of ``recentchange`` and the answers are MediaWiki's own words; those of the other streams
are made by tests/e2e/lab/synth from the wiki's database, by the rules of the real extension.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncer.fetch.client import PAGES
from tests.e2e.lab import Lab
from tests.e2e.lab.lifecycle import KINDS, Cast, Stage, tick

if TYPE_CHECKING:
    from collections.abc import Iterable

RECORDINGS = Path(__file__).parents[1] / "unit" / "lifecycle"
QUIET = 0.6  # seconds without an event, after which there is none to come

Answers = dict[str, Any]


def record(lab: Lab, cast: Cast, kind: str) -> dict[str, Any]:
    """Let one kind happen, and take down what is said of it."""
    stage = Stage(cast, kind)
    before: list[Answers] = []
    earlier: set[str] = set()
    page_ids: list[int] = []
    for _ in KINDS[kind](stage):
        tick()
        earlier = {event["meta"]["id"] for event in _said(lab)}
        page_ids += _page_ids(_ask(cast, titles=stage.titles))
        before.append(_of_pages(cast, page_ids))
    events = [event for event in _said(lab) if event["meta"]["id"] not in earlier]
    after = _ask(cast, titles=[*stage.titles, *(title for event in events for title in _titles(event))])
    page_ids += [*_page_ids(after), *(one for event in events for one in _numbers(event, "page_id"))]
    told = [one for event in events for one in _numbers(event, "rev_id")]
    return {"events": events, "before": before, "after": after | _of_pages(cast, page_ids, told)}


def _said(lab: Lab) -> list[dict[str, Any]]:
    """Everything that the wiki has said of itself, in the order of its coming, once it is silent."""
    found: list[dict[str, Any]] = []
    while True:
        time.sleep(QUIET)
        events = [one["event"] for one in sorted(lab.events(), key=lambda one: one["timestamp"])]
        if len(events) == len(found):
            return found
        found = events


def _ask(cast: Cast, **asked: Iterable[Any]) -> Answers:
    """What is answered of each value: a request each, so that any of them can be played back together."""
    ((name, values),) = asked.items()
    return {f"{name}={value}": cast.reader.get(**PAGES, **{name: value})["query"] for value in dict.fromkeys(values)}


def _of_pages(cast: Cast, page_ids: Iterable[int], rev_ids: Iterable[int] = ()) -> Answers:
    """What is answered of these pages and all their revisions."""
    return _ask(cast, pageids=page_ids) | _ask(cast, revids=sorted({*_history(cast, page_ids), *rev_ids}))


def _page_ids(answers: Answers) -> list[int]:
    pages = [page for query in answers.values() for page in query.get("pages", ())]
    return list(dict.fromkeys(page["pageid"] for page in pages if "pageid" in page))


def _history(cast: Cast, page_ids: Iterable[int]) -> list[int]:
    found = []
    for page_id in dict.fromkeys(page_ids):
        (page,) = cast.reader.query(prop="revisions", pageids=page_id, rvprop="ids", rvlimit=50)["pages"]
        found += [revision["revid"] for revision in page.get("revisions", ())]
    return found


def _titles(event: dict[str, Any]) -> list[str]:
    """The pages that an event of recentchange names."""
    params = event.get("log_params")
    others = [params.get("target"), params.get("dest")] if isinstance(params, dict) else []
    return [title for title in (event.get("title"), *others) if title]


def _numbers(said: Any, name: str) -> list[int]:
    """Every number that goes by that name, however deep."""
    if isinstance(said, list):
        return [one for part in said for one in _numbers(part, name)]
    if not isinstance(said, dict):
        return []
    here = [said[name]] if isinstance(said.get(name), int) and said[name] else []
    return here + [one for part in said.values() for one in _numbers(part, name)]


def _write(kind: str, taken: dict[str, Any]) -> None:
    """A line an event, and a line an answer."""
    events = _block("[", [_line(event) for event in taken["events"]], "]")
    before = ", ".join(_answers(answers) for answers in taken["before"])
    recording = f'{{\n"events": {events},\n"before": [{before}],\n"after": {_answers(taken["after"])}\n}}\n'
    RECORDINGS.mkdir(exist_ok=True)
    (RECORDINGS / f"{kind}.json").write_text(recording)


def _answers(answers: Answers) -> str:
    return _block("{", [f"{_line(asked)}: {_line(query)}" for asked, query in answers.items()], "}")


def _block(begin: str, lines: list[str], end: str) -> str:
    return f"{begin}\n  " + ",\n  ".join(lines) + f"\n{end}" if lines else begin + end


def _line(said: Any) -> str:
    return json.dumps(said, ensure_ascii=False)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab:
        cast = Cast(lab.api_url)
        for kind in sys.argv[1:] or KINDS:
            taken = record(lab, cast, kind)
            _write(kind, taken)
            print(kind, len(taken["events"]), "events")


if __name__ == "__main__":
    main()
