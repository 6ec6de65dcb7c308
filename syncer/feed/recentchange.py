"""The decoder of ``mediawiki.recentchange`` (PROTOCOL 13, a to g). Pure.

Edits and creations name their revision. Log entries name titles, and every title they name is to be read again; only entries
of the types in :data:`NO_CONTENT` are skipped, which change neither a page's text nor who may see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.feed.event import (
    Skip,
    SkipReason,
    an_id,
    namespace,
    optional_id,
    optional_object,
    optional_text,
    text,
    titles,
    unusable,
)
from syncer.model import Cause, Change, Visibility

if TYPE_CHECKING:
    from syncer.feed.event import Envelope, Json

NO_CONTENT = frozenset({
    # Whoever did or may do something. Hiding a user by a block sends no event at all; only a periodic re-check finds it, and
    # the undoing of it (PROTOCOL c).
    "block", "gblblock", "globalauth", "gblrights", "rights", "newusers", "oath", "thanks", "checkuser-private-event",
    # A rename moves the user's pages with entries of their own; the new name in old revisions is found by no event (PROTOCOL i).
    "renameuser", "gblrename", "usermerge",
    # What was looked at, judged or prevented. An edit that passed sends its own event.
    "patrol", "review", "abusefilter", "abusefilterprivatedetails", "spamblacklist", "titleblacklist",
    "pagetriage-curation", "pagetriage-copyvio", "translationreview", "articlefeedbackv5",
    # The hiding of a log entry. Tags, short addresses, banners; what a mass message writes are edits.
    "delete/event", "suppress/event", "tag", "managetags", "massmessage", "urlshortener", "notifytranslators",
    "growthexperiments", "campaignevents",
})  # fmt: skip

# By type, or by type and action where that matters. Everything else is Cause.LOG: the titles are read all the same.
CAUSES = {
    "move": Cause.MOVE,
    "delete/delete": Cause.DELETE,
    "delete/delete_redir": Cause.DELETE,
    "delete/delete_redir2": Cause.DELETE,
    "delete/restore": Cause.UNDELETE,
    "delete/revision": Cause.VISIBILITY,
    "suppress/delete": Cause.DELETE,
    "suppress/revision": Cause.VISIBILITY,
    "protect": Cause.PROTECT,
    "import": Cause.IMPORT,
    "merge": Cause.MERGE,
    "upload": Cause.UPLOAD,
    "contentmodel": Cause.CONTENT_MODEL,
}


def decode(envelope: Envelope, received_at: str) -> Change | Skip:
    """What an event of recentchange says happened. Raises Unusable."""
    match kind := envelope.event.get("type"):
        case "edit" | "new":
            return _edit(envelope, received_at, Cause.EDIT if kind == "edit" else Cause.CREATE)
        case "log":
            return _log(envelope, received_at)
        case "categorize":
            return Skip(SkipReason.CATEGORIZE)
        case str():  # "external" and "142" (Flow) among them
            return Skip(SkipReason.UNKNOWN_TYPE)
        case _:
            raise unusable("type", kind)


def _edit(envelope: Envelope, received_at: str, cause: Cause) -> Change:
    _, _, domain, wiki_id, event = envelope
    revision = optional_object(event, "revision")
    rev_id = optional_id(revision, "new")
    named = titles(optional_text(event, "title"))
    if rev_id is None and not named:
        raise unusable("revision.new", None)
    return Change(
        wiki_id=wiki_id,
        domain=domain,
        cause=cause,
        source=envelope.source(received_at),
        rev_ids=() if rev_id is None else (rev_id,),
        titles=named,
        namespace=namespace(event, "namespace"),
        parent_rev_id=optional_id(revision, "old"),
        bot=event.get("bot") is True,
    )


def _log(envelope: Envelope, received_at: str) -> Change | Skip:
    _, _, domain, wiki_id, event = envelope
    log_type = text(event, "log_type")
    exact = f"{log_type}/{event.get('log_action')}"
    if log_type in NO_CONTENT or exact in NO_CONTENT:
        return Skip(SkipReason.LOG)
    cause = CAUSES.get(exact) or CAUSES.get(log_type, Cause.LOG)
    rev_ids, claims = _revisions(event) if cause is Cause.VISIBILITY else ((), ())
    named = _named(event)
    if not named and not rev_ids:
        return Skip(SkipReason.NO_PAGE)
    return Change(
        wiki_id=wiki_id,
        domain=domain,
        cause=cause,
        source=envelope.source(received_at),
        rev_ids=rev_ids,
        titles=named,
        namespace=namespace(event, "namespace"),
        claims=claims,
        bot=event.get("bot") is True,
    )


def _named(event: Json) -> tuple[str, ...]:
    """Every title the entry names: its own, unless it is a special page's, and those among its parameters (PROTOCOL a)."""
    params = event.get("log_params")
    if type(params) is dict:
        others = [params.get("target"), params.get("dest")]
    else:  # a list is what old entries have; that of a move begins with the new title
        others = params[:1] if type(params) is list and event.get("log_type") == "move" else []
    own = optional_text(event, "title")
    return titles(own, *others) if (namespace(event, "namespace") or 0) >= 0 else titles(*others)


def _revisions(event: Json) -> tuple[tuple[int, ...], tuple[tuple[int, Visibility], ...]]:
    """The revisions whose visibility changed, and what it is now (PROTOCOL d); none if it is about files."""
    params = event.get("log_params")
    if type(params) is not dict or params.get("type") != "revision":
        return (), ()
    rev_ids = tuple(_rev_id(value) for value in params.get("ids") or ())
    bits = params.get("nfield")
    if type(bits) is not int:
        return rev_ids, ()
    return rev_ids, tuple((rev_id, Visibility.from_bits(bits)) for rev_id in rev_ids)


def _rev_id(value: object) -> int:
    return an_id({"ids": int(value) if type(value) is str and value.isdecimal() else value}, "ids")
