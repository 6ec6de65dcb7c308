"""What MediaWiki's event producers say, as plain dictionaries without ``meta``. Pure.

Shapes as recorded from the real serializers: recentchange 1.0.0, page/change 1.11.0, revision/create 2.0.0,
revision/visibility-change 1.0.0 (PROTOCOL 13 to 18, a to l). What is hidden is absent.
"""

from __future__ import annotations

import html
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from syncer.demo.state import COMMENT, USER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.demo.sites import Site, Title
    from syncer.demo.state import By, Page, Rev, User
    from syncer.model import Visibility

Event = dict[str, Any]

RECENT_CHANGE = "mediawiki.recentchange"
PAGE_CHANGE = "mediawiki.page_change.v1"
VISIBILITY_CHANGE = "mediawiki.revision-visibility-change"
REVISION_CREATE = "mediawiki.revision-create"
STREAMS = (RECENT_CHANGE, PAGE_CHANGE, VISIBILITY_CHANGE, REVISION_CREATE)

FORMATS = {
    "wikitext": "text/x-wiki",
    "json": "application/json",
    "css": "text/css",
    "javascript": "text/javascript",
    "text": "text/plain",
}
CHANGELOG = {"create": "insert", "undelete": "insert", "delete": "delete"}  # every other kind is an update
REGISTERED = "2015-03-17T17:45:52Z"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Subject(NamedTuple):
    """The page an event is about, in its wiki; ``link`` is where it redirects to."""

    site: Site
    page: Page
    link: Event | None = None


class Logged(NamedTuple):
    """A log entry: its ``type/action``, title, parameters (an object, a list, or ""), id, and the page that it is about."""

    kind: str
    title: Title
    params: Mapping[str, Any] | list[Any] | str
    log_id: int
    page_id: int


def iso(timestamp: float) -> str:
    """Whole seconds, as MediaWiki writes times."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=8192)
def base36(sha1: str) -> str:
    """A hex SHA-1 as events write it: base 36, 31 digits (PROTOCOL 18)."""
    number, digits = int(sha1, 16), []
    for _ in range(31):
        number, digit = divmod(number, 36)
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))


def page_change(kind: str, subject: Subject, rev: Rev, performer: User | None, more: Event) -> Event:
    """A mediawiki.page_change.v1; ``more`` adds or replaces parts (``dt``, ``comment``, ``prior_state``, ``revision`` ...)."""
    site = subject.site
    event: Event = {
        "changelog_kind": CHANGELOG.get(kind, "update"),
        "page_change_kind": kind,
        "dt": iso(rev.timestamp),
        "wiki_id": site.wiki_id,
        "page": page_entity(subject),
    }
    if performer:
        event["performer"] = user_entity(performer, site)
    return {**event, "revision": revision_entity(rev, site), **more, "$schema": "/mediawiki/page/change/1.11.0"}


def page_entity(subject: Subject) -> Event:
    """The page as page_change describes it."""
    page = subject.page
    entity: Event = {
        "page_id": page.page_id,
        "page_title": page.title.key,
        "namespace_id": page.title.namespace,
        "is_redirect": page.redirect is not None,
        "namespace_is_content": page.title.namespace == 0,
    }
    if subject.link:
        entity["redirect_page_link"] = subject.link
    return entity


def revision_entity(rev: Rev, site: Site) -> Event:
    """The revision as page_change describes it; hidden comment and editor are absent, hashes stay (PROTOCOL l)."""
    entity: Event = {
        "rev_id": rev.rev_id,
        "rev_dt": iso(rev.timestamp),
        "is_minor_edit": rev.by.minor,
        "rev_sha1": base36(rev.sha1),
        "rev_size": len(rev.text),
        "rev_parent_id": rev.parent_id,
    }
    if not rev.hidden & COMMENT:
        entity["comment"] = rev.by.comment
    entity |= visible(rev.visibility)
    if not rev.hidden & USER:
        entity["editor"] = user_entity(rev.by.user, site)
    slot = {"slot_role": "main", "content_model": rev.model, "content_sha1": base36(rev.sha1), "content_size": len(rev.text)}
    entity["content_slots"] = {"main": {**slot, "content_format": FORMATS[rev.model], "origin_rev_id": rev.origin}}
    return entity


def visible(visibility: Visibility) -> Event:
    """What may be seen, in page_change's words."""
    return {
        "is_content_visible": visibility.text,
        "is_editor_visible": visibility.user,
        "is_comment_visible": visibility.comment,
    }


def user_entity(user: User, site: Site) -> Event:
    """A user as page_change describes them."""
    entity: Event = {"user_text": user.name, "groups": _groups(user), "is_temp": False, "wiki_id": site.wiki_id}
    if user.user_id:
        account = {"first_edit_dt": REGISTERED, "user_id": user.user_id, "edit_count": 100, "registration_dt": REGISTERED}
        entity |= {**account, "user_central_id": user.user_id}
    return {**entity, "is_bot": user.bot, "is_system": False}


def revision_create(rev: Rev, subject: Subject, parent: Rev | None) -> Event:
    """A mediawiki.revision-create."""
    event = {
        "$schema": "/mediawiki/revision/create/2.0.0",
        **_attributes(rev, subject, None if rev.hidden & USER else rev.by.user),
        "dt": iso(rev.timestamp),
    }
    slot = {"rev_slot_content_model": rev.model, "rev_slot_sha1": base36(rev.sha1), "rev_slot_size": len(rev.text)}
    event["rev_slots"] = {"main": {**slot, "rev_slot_origin_rev_id": rev.origin}}
    if parent:
        event["rev_content_changed"] = parent.sha1 != rev.sha1
    return event


def visibility_change(rev: Rev, subject: Subject, before: Visibility, performer: User | None) -> Event:
    """A mediawiki.revision-visibility-change; without ``performer`` it is a suppression (PROTOCOL l)."""
    return {
        "$schema": "/mediawiki/revision/visibility-change/1.0.0",
        **_attributes(rev, subject, performer),
        "visibility": _flags(rev.visibility),
        "prior_state": {"visibility": _flags(before)},
    }


def _attributes(rev: Rev, subject: Subject, performer: User | None) -> Event:
    event: Event = {
        "database": subject.site.wiki_id,
        "page_id": rev.page_id,
        "page_title": subject.page.title.key,
        "page_namespace": subject.page.title.namespace,
        "rev_id": rev.rev_id,
        "rev_timestamp": iso(rev.timestamp),
        "rev_sha1": base36(rev.sha1),
        "rev_minor_edit": rev.by.minor,
        "rev_len": len(rev.text),
        "rev_content_model": rev.model,
        "rev_content_format": FORMATS[rev.model],
    }
    if performer:
        account = {"user_id": performer.user_id, "user_registration_dt": REGISTERED, "user_edit_count": 100}
        named = {"user_text": performer.name, "user_groups": _groups(performer), "user_is_bot": performer.bot}
        event["performer"] = named | (account if performer.user_id else {})
    event["page_is_redirect"] = subject.page.redirect is not None
    if rev.by.comment and not rev.hidden & COMMENT:
        event |= {"comment": rev.by.comment, "parsedcomment": html.escape(rev.by.comment)}
    if rev.parent_id:
        event["rev_parent_id"] = rev.parent_id
    return event


def _flags(visibility: Visibility) -> Event:
    return {"text": visibility.text, "user": visibility.user, "comment": visibility.comment}


def _groups(user: User) -> list[str]:
    return [*user.groups, "*"]


def edit_entry(site: Site, page: Page, rev: Rev, parent: Rev | None, rc_id: int) -> Event:
    """A recentchange of type edit or new. Where there is no parent, ``old`` is absent or null (PROTOCOL 13)."""
    length: Event = {"new": len(rev.text)}
    revision: Event = {"new": rev.rev_id}
    if parent or rc_id % 2:
        length["old"] = len(parent.text) if parent else None
        revision["old"] = parent.rev_id if parent else None
    event = entry(site, page.title, "edit" if parent else "new", rev.timestamp, rev.by)
    event |= {"id": rc_id, "bot": rev.by.bot, "minor": rev.by.minor, "length": length, "revision": revision}
    if rc_id % 4:
        event["patrolled"] = rev.by.user.user_id != 0
    return event


def log_entry(site: Site, logged: Logged, at: float, by: By, rc_id: int | None) -> Event:
    """A recentchange of type log; ``rc_id`` None as with patrols, which have none (PROTOCOL g)."""
    event = entry(site, logged.title, "log", at, by)
    if rc_id is not None:
        event["id"] = rc_id
    log_type, action = logged.kind.split("/")
    event |= {"log_id": logged.log_id, "log_type": log_type, "log_action": action, "log_params": logged.params}
    return event | {"log_action_comment": f"{action} [[{logged.title.text}]]: {by.comment}"}


def entry(site: Site, title: Title, kind: str, at: float, by: By) -> Event:
    """What every recentchange has; alone, with types like categorize or "142", nothing about content (PROTOCOL g)."""
    return {
        "$schema": "/mediawiki/recentchange/1.0.0",
        "type": kind,
        "namespace": title.namespace,
        "title": title.text,
        "comment": by.comment,
        "parsedcomment": html.escape(by.comment),
        "timestamp": int(at),
        "user": by.user.name,
        "bot": False,
        "server_url": site.url,
        "server_name": site.domain,
        "server_script_path": "/w",
        "wiki": site.wiki_id,
    }
