"""Which pages and revisions a request to the Action API means: ids and titles resolved against one replica. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from syncer.demo.sites import BadTitle, OtherWiki

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncer.demo.state import Page, Rev
    from syncer.demo.telling import Changed, Entry
    from syncer.demo.wiki import Wiki

Json = dict[str, Any]

MAX_VALUES = 50
SOURCES = ("titles", "pageids", "revids")


class ApiError(Exception):
    """An answer that is an error; ``data`` are its further fields."""

    def __init__(self, code: str, text: str, module: str = "query", **data: Any) -> None:
        super().__init__(text)
        self.code = code
        self.module = module
        self.data = data


class View:
    """A wiki as of a moment: what one of its replicas knows."""

    def __init__(self, wiki: Wiki, as_of: float | None = None) -> None:
        self.site = wiki.site
        self._wiki = wiki
        self._as_of = as_of

    def titled(self, title: str) -> Page | None:
        """The page that has that canonical title."""
        page_id = self._wiki.titles.at(title, self._as_of)
        return None if page_id is None else self.page(page_id)

    def page(self, page_id: int) -> Page | None:
        """The page with that id."""
        return self._wiki.pages.at(page_id, self._as_of)

    def rev(self, rev_id: int) -> Rev | None:
        """The revision with that id, unless it is deleted."""
        return self._wiki.revs.at(rev_id, self._as_of)

    def changes(self) -> list[Changed]:
        """The recent changes that are edits."""
        return [row for row in self._wiki.changes if self._as_of is None or row.at <= self._as_of]

    def entries(self) -> list[Entry]:
        """The log."""
        return [row for row in self._wiki.entries if self._as_of is None or row.at <= self._as_of]


@dataclass
class Selection:
    """What a request asked for, resolved: pages found, revisions to give, and what stands beside them in the answer."""

    source: str = ""
    pages: dict[int, Page] = field(default_factory=dict)
    revs: list[Rev] = field(default_factory=list)
    nowhere: list[Json] = field(default_factory=list)  # missing, special and invalid titles, missing page ids
    beside: Json = field(default_factory=dict)  # normalized, interwiki, badrevids


def values(params: Mapping[str, str], name: str) -> list[str]:
    """A multi-valued parameter; the separator is ``|``, or U+001F where the value starts with it."""
    raw = params.get(name, "")
    found = raw[1:].split("\x1f") if raw.startswith("\x1f") else raw.split("|")
    return list(dict.fromkeys(found)) if raw else []


def select(view: View, params: Mapping[str, str]) -> Selection:
    """Resolve titles, pageids or revids, whichever one is given. Raises ApiError."""
    given = [source for source in SOURCES if params.get(source)]
    if len(given) > 1:
        raise ApiError("multisource", f'"{given[-1]}" cannot be used together with "{given[0]}"')
    chosen = Selection(given[0] if given else "")
    asked = values(params, chosen.source)
    if len(asked) > MAX_VALUES:
        text = f'"{chosen.source}" takes at most {MAX_VALUES} values'
        raise ApiError("toomanyvalues", text, limit=MAX_VALUES, lowlimit=MAX_VALUES, highlimit=500)
    if chosen.source == "titles":
        _by_title(view, asked, chosen, plain=params.get("errorformat", "bc") == "bc")
    elif chosen.source:
        ids = sorted({number(one, chosen.source) for one in asked})
        (_by_rev if chosen.source == "revids" else _by_page)(view, ids, chosen)
    chosen.pages = dict(sorted(chosen.pages.items()))
    if chosen.source != "revids":
        chosen.revs = [rev for page in chosen.pages.values() if (rev := view.rev(page.latest))]
    return chosen


def number(value: str, name: str) -> int:
    """An integer parameter. Raises ApiError."""
    try:
        return int(value)
    except ValueError:
        raise ApiError("badinteger", f'"{value}" is no integer for "{name}"') from None


def _by_rev(view: View, ids: Iterable[int], chosen: Selection) -> None:
    bad = {}
    for rev_id in ids:
        rev = view.rev(rev_id)
        page = view.page(rev.page_id) if rev else None
        if rev and page:
            chosen.pages[page.page_id] = page
            chosen.revs.append(rev)
        else:
            bad[str(rev_id)] = {"revid": rev_id, "missing": True}
    if bad:
        chosen.beside["badrevids"] = bad


def _by_page(view: View, ids: Iterable[int], chosen: Selection) -> None:
    for page_id in ids:
        if page := view.page(page_id):
            chosen.pages[page_id] = page
        else:
            chosen.nowhere.append({"pageid": page_id, "missing": True})


def _by_title(view: View, asked: Iterable[str], chosen: Selection, *, plain: bool) -> None:
    normalized: list[Json] = []
    elsewhere: list[Json] = []
    invalid: list[Json] = []
    special: list[Json] = []
    missing: dict[str, Json] = {}
    for raw in asked:
        try:
            name = view.site.read(raw)
        except BadTitle as error:
            reason = str(error) if plain else {"code": error.code, "text": str(error)}
            invalid.append({"title": raw, "invalidreason": reason, "invalid": True})
            continue
        if isinstance(name, OtherWiki):
            elsewhere.append({"title": raw, "iw": name.prefix})
            continue
        if name.text != raw:
            normalized.append({"fromencoded": False, "from": raw, "to": name.text})
        if name.namespace < 0:
            special.append({"ns": name.namespace, "title": name.text, "special": True})
        elif page := view.titled(name.text):
            chosen.pages[page.page_id] = page
        else:
            missing[name.text] = {"ns": name.namespace, "title": name.text, "missing": True}
    chosen.nowhere = [*invalid, *special, *missing.values()][::-1]
    chosen.beside = {name: found for name, found in (("normalized", normalized), ("interwiki", elsewhere)) if found}
