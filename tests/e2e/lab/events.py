"""Events as EventGate makes them: the envelope around what MediaWiki says, canaries, and other wikis' noise."""

from __future__ import annotations

import html
import time
import urllib.parse
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .topics import PAGE_CHANGE, RECENT_CHANGE

if TYPE_CHECKING:
    from .options import Options

OTHER_WIKIS = (
    ("en.wikipedia.org", "enwiki"),
    ("www.wikidata.org", "wikidatawiki"),
    ("commons.wikimedia.org", "commonswiki"),
)


def now(options: Options, event_time: int | None = None) -> int:
    """Kafka's time of an event, in ms: the time of its arrival, or its own in whole seconds."""
    if options.ts_mode == "second":
        return (event_time or int(time.time())) * 1000
    return int(time.time() * 1000)


def iso(ms: int, *, seconds: bool = False) -> str:
    """A time of ``meta.dt``."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + ("Z" if seconds else f".{ms % 1000:03d}Z")


def meta(domain: str, stream: str, dt: str, uri: str) -> dict[str, Any]:
    """The part that every event has."""
    return {"uri": uri, "request_id": str(uuid.uuid4()), "id": str(uuid.uuid4()), "domain": domain, "stream": stream, "dt": dt}


def recent_change(packet: dict[str, Any], options: Options) -> tuple[int, dict[str, Any]]:
    """An RCFeed packet as recentchange event, with its Kafka time: nulls dropped, ``$schema`` and ``meta`` in front."""
    script_path = (packet.get("server_script_path") or "/").rstrip("/")
    title = urllib.parse.quote(packet.get("title", "").replace(" ", "_"), safe="/:@!$*(),;~")
    uri = f"{packet.get('server_url', '')}{script_path}/index.php/{title}"
    ms = now(options, int(packet["timestamp"]))
    dt = iso(ms, seconds=options.ts_mode == "second")
    event = {
        "$schema": "/mediawiki/recentchange/1.0.0",
        "meta": meta(packet.get("server_name", ""), RECENT_CHANGE, dt, uri),
        **_without_nulls(packet),
        "parsedcomment": html.escape(packet.get("comment") or "", quote=False),
    }
    return ms, event


def arrived(event: dict[str, Any], options: Options) -> tuple[int, dict[str, Any]]:
    """An event that was made elsewhere, with the time and what else EventGate fills in."""
    ms = now(options)
    own = {"id": str(uuid.uuid4()), "request_id": str(uuid.uuid4()), **event["meta"]}
    return ms, {**event, "meta": {**own, "dt": iso(ms, seconds=options.ts_mode == "second")}}


def invented(domain: str, wiki: str, word: str, stream: str, n: int) -> tuple[int, dict[str, Any]]:
    """A well-formed event about page and revision ``n``: a canary (domain ``canary``), or an edit of another wiki."""
    ms = int(time.time() * 1000)
    common = meta(domain, stream, iso(ms), f"https://{domain}/wiki/X")
    if stream == RECENT_CHANGE:
        return ms, {
            "$schema": "/mediawiki/recentchange/1.0.0",
            "meta": common,
            **_invented_edit(domain, wiki, word, n, ms // 1000),
        }
    if stream == PAGE_CHANGE:
        return ms, {
            "$schema": "/mediawiki/page/change/1.11.0",
            "meta": common,
            **_invented_page_change(wiki, word, n, iso(ms, seconds=True)),
        }
    schema = "/" + stream.replace(".", "/").replace("-", "/", 1) + "/1.0.0"
    return ms, {
        "$schema": schema,
        "meta": common,
        "database": wiki,
        "page_id": n,
        "page_title": f"{word}_{n}",
        "page_namespace": 0,
        "rev_id": n,
    }


def _invented_edit(domain: str, wiki: str, word: str, n: int, timestamp: int) -> dict[str, Any]:
    return {
        "id": n,
        "type": "edit",
        "namespace": 0,
        "title": f"{word} {n}",
        "comment": word,
        "timestamp": timestamp,
        "user": "Example",
        "bot": False,
        "minor": False,
        "length": {"old": 1, "new": 2},
        "revision": {"old": n, "new": n + 1},
        "server_url": f"https://{domain}",
        "server_name": domain,
        "server_script_path": "/w",
        "wiki": wiki,
        "parsedcomment": word,
    }


def _invented_page_change(wiki: str, word: str, n: int, dt: str) -> dict[str, Any]:
    page = {"page_id": n, "page_title": f"{word}_{n}", "namespace_id": 0, "is_redirect": False, "namespace_is_content": True}
    revision = {
        "rev_id": n,
        "rev_dt": dt,
        "rev_parent_id": 0,
        "rev_size": 1,
        "rev_sha1": "0" * 31,
        "is_minor_edit": False,
        "is_content_visible": True,
        "is_editor_visible": True,
        "is_comment_visible": True,
    }
    return {
        "changelog_kind": "insert",
        "page_change_kind": "create",
        "dt": dt,
        "wiki_id": wiki,
        "page": page,
        "revision": revision,
    }


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value if part is not None] if isinstance(value, list) else value
