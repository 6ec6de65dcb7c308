"""What the Action API answers to ``action=query``: pages, revisions, what a wiki says of itself (PROTOCOL 21 to 25). Pure.

Shapes, the order of keys and of pages, and what is repeated on continuing are those recorded from MediaWiki 1.39.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from syncer.demo.events import FORMATS, iso
from syncer.demo.lists import listed
from syncer.demo.selection import number, select, values
from syncer.demo.sites import ALIASES, CANONICAL
from syncer.demo.state import COMMENT, RESTRICTED, TEXT, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncer.demo.selection import Json, Selection, View
    from syncer.demo.sites import Site
    from syncer.demo.state import Page, Rev

RVPROP = "ids|timestamp|flags|comment|user"  # what MediaWiki gives unasked
CONTROLS = bytes(range(32))
OVERHEAD = 150  # bytes that a revision counts for besides its text; MediaWiki sums up the lengths of all values


def answer(view: View, params: Mapping[str, str], max_result: int) -> Json:
    """The whole answer as JSON values. Raises ApiError."""
    props, chosen = values(params, "prop"), select(view, params)
    continued, query = listed(view, params)
    query |= chosen.beside
    if "siteinfo" in values(params, "meta"):
        query |= siteinfo(view.site, values(params, "siprop"))
    pages = {page_id: _head(page) for page_id, page in chosen.pages.items()}
    top = _give_revisions(chosen, pages, params, max_result) if "revisions" in props else {}
    if "info" in props and "info" not in params.get("continue", ""):
        _give_info(view, chosen, pages)
    if found := [*chosen.nowhere, *pages.values()]:
        query["pages"] = found
    top = top or {"batchcomplete": True, **continued}
    return {**top, "query": query} if query else top


def _give_revisions(chosen: Selection, pages: dict[int, Json], params: Mapping[str, str], max_result: int) -> Json:
    """Put the revisions into their pages, as many as fit; the top of the answer where some did not.

    The page at which it ends has an empty list, those after it have none at all (PROTOCOL f).
    """
    props, slots = frozenset(values(params, "rvprop") or RVPROP.split("|")), bool(params.get("rvslots"))
    by_rev = chosen.source == "revids"
    since = params.get("rvcontinue", "0").split("|")[0]
    rows = [rev for rev in chosen.revs if (rev.rev_id if by_rev else rev.page_id) >= number(since, "rvcontinue")]
    size = 0
    for at, rev in enumerate(rows):
        listed = pages[rev.page_id].setdefault("revisions", [])
        size += OVERHEAD + (len(rev.text) if "content" in props and not rev.hidden & TEXT else 0)
        if at and size > max_result:
            onwards: Any = rev.rev_id if by_rev else f"{rev.page_id}|{rev.rev_id}"
            module = "||info" if "info" in values(params, "prop") else "||"
            return {"continue": {"rvcontinue": onwards, "continue": module}, "warnings": _truncated(params, max_result)}
        listed.append(revision(rev, props, slots=slots))
    return {}


def _truncated(params: Mapping[str, str], max_result: int) -> Any:
    text = f"This result was cut short: it may have at most {max_result:,} bytes."
    if params.get("errorformat", "bc") == "bc":
        return {"result": {"warnings": text}}
    return [{"code": "truncatedresult", "text": text, "module": "result"}]


def revision(rev: Rev, props: frozenset[str], *, slots: bool) -> Json:
    """One revision as everybody gets it: what is hidden is only said to be (PROTOCOL 25)."""
    given: Json = {"revid": rev.rev_id, "parentid": rev.parent_id} if "ids" in props else {}
    if "flags" in props:
        given["minor"] = rev.by.minor
    given |= _user(rev, props)
    if "timestamp" in props:
        given["timestamp"] = iso(rev.timestamp)
    if "size" in props:
        given["size"] = len(rev.text)
    if "sha1" in props:
        given |= {"sha1hidden": True} if rev.hidden & TEXT else {"sha1": announced(rev, slot=False)}
    if slots and rev.flaw == "slotsmissing":
        given["slotsmissing"] = True
    elif slots:
        given["slots"] = {"main": _slot(rev, props)}
    else:
        given |= _slot(rev, props)
    if "comment" in props:
        given |= {"commenthidden": True} if rev.hidden & COMMENT else {"comment": rev.by.comment}
    if "tags" in props:
        given["tags"] = rev.tags
    if rev.hidden & RESTRICTED:
        given["suppressed"] = True
    return given


def announced(rev: Rev, *, slot: bool) -> str:
    """The hash that the wiki gives for a revision or its main slot; that of the text, unless there is a flaw."""
    if rev.flaw == "wronghash" or (rev.flaw == "secondslot" and not slot):
        return rev.sha1[::-1]
    return rev.sha1


def _user(rev: Rev, props: frozenset[str]) -> Json:
    if not props & {"user", "userid"}:
        return {}
    if rev.hidden & USER:
        return {"userhidden": True}
    user = rev.by.user
    given = {"user": user.name, "userid": user.user_id}
    return {name: value for name, value in given.items() if name in props} | ({} if user.user_id else {"anon": True})


def _slot(rev: Rev, props: frozenset[str]) -> Json:
    slot: Json = {}
    if "slotsha1" in props:
        slot |= {"sha1hidden": True} if rev.hidden & TEXT else {"sha1": announced(rev, slot=True)}
    if "content" in props or "contentmodel" in props:
        slot["contentmodel"] = rev.model
    if "content" in props:
        if rev.hidden & TEXT:
            slot["texthidden"] = True
        elif rev.flaw == "textmissing":
            slot["textmissing"] = True
        else:
            slot |= {"contentformat": FORMATS[rev.model], "content": orjson.Fragment(json_string(rev.text))}
    return slot


def json_string(text: bytes) -> bytes:
    """UTF-8 as a JSON string: what decoding and encoding it again would give, at a tenth of the cost."""
    escaped = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    if len(escaped.translate(None, CONTROLS)) < len(escaped):  # a search would cost four times as much
        escaped = re.sub(b"[%b]" % CONTROLS, lambda found: b"\\u%04x" % found[0][0], escaped)
    return b'"%b"' % escaped


def _head(page: Page) -> Json:
    return {"pageid": page.page_id, "ns": page.title.namespace, "title": page.title.text}


def _give_info(view: View, chosen: Selection, pages: dict[int, Json]) -> None:
    """What ``prop=info`` adds to pages and to titles that could be pages."""
    site = view.site
    named = {
        "pagelanguage": site.language,
        "pagelanguagehtmlcode": site.language,
        "pagelanguagedir": "rtl" if site.rtl else "ltr",
    }
    for nothing in chosen.nowhere:
        if "missing" in nothing and "ns" in nothing:
            nothing.update({"contentmodel": "wikitext", **named})
    for page_id, page in chosen.pages.items():
        rev = view.rev(page.latest)
        if rev:
            info = {"contentmodel": rev.model, **named, "touched": iso(rev.timestamp), "lastrevid": rev.rev_id}
            flags = ({"redirect": True} if page.redirect else {}) | ({} if rev.parent_id else {"new": True})
            pages[page_id] |= {**info, "length": len(rev.text), **flags}


def siteinfo(site: Site, parts: Iterable[str]) -> Json:
    """What a wiki says of itself: general, namespaces, namespacealiases, rightsinfo."""
    known: Json = {
        "general": {
            "mainpage": "Main Page", "sitename": site.namespaces[4], "generator": "MediaWiki 1.47.0-wmf.1",
            "case": "first-letter", "lang": site.language, "rtl": site.rtl, "wikiid": site.wiki_id, "server": site.url,
            "servername": site.domain, "articlepath": "/wiki/$1", "scriptpath": "/w", "script": "/w/index.php",
        },
        "namespaces": {str(space): _namespace(space, name) for space, name in sorted(site.namespaces.items())},
        "namespacealiases": [{"id": space, "alias": alias.capitalize()} for alias, space in ALIASES.items()],
        "rightsinfo": {"url": site.licence[0], "text": site.licence[1]},
    }  # fmt: skip
    return {part: known[part] for part in parts or ("general",) if part in known}


def _namespace(space: int, name: str) -> Json:
    given: Json = {"id": space, "case": "first-letter", "name": name, "subpages": space not in {0, 14}, "content": space == 0}
    return given | ({"canonical": CANONICAL[space]} if CANONICAL.get(space) else {})
