"""What the Action API answers to ``list=recentchanges`` and ``list=logevents`` (PROTOCOL 26). Pure.

Shapes are those recorded from MediaWiki 1.39: a deleted page has taken its edits out of the recent changes, parameters of the log
are written otherwise than on the feed, and a page of rows ends with where the next begins.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from syncer.demo.events import iso
from syncer.demo.selection import ApiError, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncer.demo.selection import Json, View
    from syncer.demo.telling import Changed, Entry

MOST, DEFAULT = 500, 10  # rows, without special rights; what is given unasked
BITS = (("content", 1), ("comment", 2), ("user", 4), ("restricted", 8))


def listed(view: View, params: Mapping[str, str]) -> tuple[Json, Json]:
    """The top of the answer and its query, with the lists that were asked for. Raises ApiError."""
    top: Json = {}
    query: Json = {}
    for name, prefix, rows, write in (
        ("recentchanges", "rc", view.changes(), _change),
        ("logevents", "le", view.entries(), _entry),
    ):
        if name in values(params, "list"):
            kinds = values(params, f"{prefix}type")
            wanted = [row for row in rows if not kinds or row.kind.split("/")[0] in kinds]
            if namespaces := values(params, f"{prefix}namespace"):
                wanted = [row for row in wanted if str(row.title.namespace) in namespaces]
            found, more = _page(wanted, params, prefix, f"query+{name}")
            query[name] = [write(view, row, frozenset(values(params, f"{prefix}prop"))) for row in found]
            if more:
                top["continue"] = {f"{prefix}continue": more, "continue": "-||"}
    return top, query


def _page(rows: Sequence[Any], params: Mapping[str, str], prefix: str, module: str) -> tuple[list[Any], str | None]:
    """So many rows in the order asked for, between the ends asked for, and where the next ones begin."""
    newer = params.get(f"{prefix}dir", "older") == "newer"
    limit = params.get(f"{prefix}limit", str(DEFAULT))
    most = MOST if limit == "max" else min(max(_number(limit, module), 1), MOST)
    start, end = (_time(params.get(f"{prefix}{name}"), module) for name in ("start", "end"))
    first, last = (start, end) if newer else (end, start)
    ordered = sorted(rows, key=lambda row: (int(row.at), row.number), reverse=not newer)
    left = [row for row in ordered if (first is None or int(row.at) >= first) and (last is None or int(row.at) <= last)]
    if more := params.get(f"{prefix}continue"):
        since = _place(more, module)
        left = [row for row in left if ((int(row.at), row.number) >= since if newer else (int(row.at), row.number) <= since)]
    following = left[most] if len(left) > most else None
    return left[:most], following and f"{datetime.fromtimestamp(int(following.at), UTC):%Y%m%d%H%M%S}|{following.number}"


def _number(value: str, module: str) -> int:
    if not value.isdecimal():
        raise ApiError("badinteger", f'Invalid value "{value}" for integer parameter.', module)
    return int(value)


def _time(value: str | None, module: str) -> int | None:
    if value is None:
        return None
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except ValueError:
        raise ApiError("badtimestamp", f'Invalid value "{value}" for timestamp parameter.', module) from None


def _place(value: str, module: str) -> tuple[int, int]:
    try:
        at, row = value.split("|")
        return int(datetime.strptime(f"{at}+0000", "%Y%m%d%H%M%S%z").timestamp()), int(row)
    except ValueError:
        raise ApiError("badcontinue", "Invalid continue param.", module) from None


def _change(_view: View, row: Changed, props: frozenset[str]) -> Json:
    given: Json = {"type": row.kind}
    if "title" in props:
        given |= {"ns": row.title.namespace, "title": row.title.text}
    if "ids" in props:
        given |= {"pageid": row.page_id, "revid": row.rev_id, "old_revid": row.parent_id, "rcid": row.number}
    if "flags" in props:
        given |= {"bot": row.by.bot, "new": row.kind == "new", "minor": row.by.minor}
    return given | ({"timestamp": iso(row.at)} if "timestamp" in props else {})


def _entry(view: View, row: Entry, props: frozenset[str]) -> Json:
    now = view.titled(row.title.text)
    given: Json = {"logid": row.number} if "ids" in props else {}
    if "title" in props:
        given |= {"ns": row.title.namespace, "title": row.title.text}
    if "ids" in props:
        given |= {"pageid": now.page_id if now else 0, "logpage": row.page_id}
    if "details" in props:
        given["params"] = _params(view, row)
    if "type" in props:
        given["type"], given["action"] = row.kind.split("/")
    return given | ({"timestamp": iso(row.at)} if "timestamp" in props else {})


def _params(view: View, row: Entry) -> Json:
    """An entry's parameters as the API formats them: titles with their namespace, bits by name, times in ISO 8601."""
    if not isinstance(row.params, dict):
        return {}
    given: Json = dict(row.params)
    for name in ("target", "dest"):
        if name in given:
            title = view.site.parse(given.pop(name))
            given |= {f"{name}_ns": title.namespace, f"{name}_title": title.text}
    if "noredir" in given:
        given["suppressredirect"] = given.pop("noredir") == "1"
    for name, field in (("old", "ofield"), ("new", "nfield")):
        if field in given:
            bits = given.pop(field)
            given[name] = {"bitmask": bits} | {part: bool(bits & bit) for part, bit in BITS}
    given.pop("mergerevid", None)
    for name in ("mergepoint", "img_timestamp"):
        if name in given:
            given[name] = f"{datetime.strptime(f'{given[name]}+0000', '%Y%m%d%H%M%S%z'):%Y-%m-%dT%H:%M:%SZ}"
    return given
