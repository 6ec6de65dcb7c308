"""The decoders of the streams that know page ids: ``page_change.v1`` and the two about revisions (PROTOCOL 14-16, i to l). Pure.

A change that names revisions or page ids also has the page's title: it says what the page was called, and where to look when
the revision is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.feed.event import (
    an_id,
    an_object,
    is_bot,
    namespace,
    optional_id,
    optional_object,
    optional_text,
    text,
    titles,
    unusable,
    visibility,
)
from syncer.model import Cause, Change

if TYPE_CHECKING:
    from syncer.feed.event import Envelope
    from syncer.model import Visibility

SCHEMA = "/mediawiki/page/change/1."
FLAGS = ("text", "user", "comment")
PAGE_CHANGE_FLAGS = ("is_content_visible", "is_editor_visible", "is_comment_visible")
REVISION_CAUSES = {"edit": Cause.EDIT, "create": Cause.CREATE, "visibility_change": Cause.VISIBILITY}
PAGE_CAUSES = {"move": Cause.MOVE, "delete": Cause.DELETE, "undelete": Cause.UNDELETE}


def page_change(envelope: Envelope, received_at: str) -> Change:
    """What an event of ``page_change`` says happened; a kind that is not known is a page to read again. Raises Unusable."""
    _, _, domain, wiki_id, event = envelope
    schema = event.get("$schema")
    if type(schema) is str and not schema.startswith(SCHEMA):
        raise unusable("$schema 1.x", None)
    kind, page = text(event, "page_change_kind"), an_object(event, "page")
    prior = optional_object(optional_object(event, "prior_state"), "page")
    redirect = optional_object(event, "created_redirect_page")
    page_ids = dict.fromkeys((an_id(page, "page_id"), optional_id(prior, "page_id"), optional_id(redirect, "page_id")))
    rev_id, parent_rev_id, seen = _revision(envelope, kind)
    return Change(
        wiki_id=wiki_id,
        domain=domain,
        cause=REVISION_CAUSES.get(kind) or PAGE_CAUSES.get(kind, Cause.LOG),
        source=envelope.source(received_at),
        rev_ids=(rev_id,) if rev_id else (),
        titles=titles(*(optional_text(part, "page_title") for part in (page, prior, redirect))),
        page_ids=tuple(page_id for page_id in page_ids if page_id),
        namespace=namespace(page, "namespace_id"),
        parent_rev_id=parent_rev_id,
        claims=((rev_id, seen),) if rev_id and seen else (),
        bot=is_bot(event, "performer"),
    )


def _revision(envelope: Envelope, kind: str) -> tuple[int | None, int | None, Visibility | None]:
    """The revision that the event is about, its parent, and its visibility where that is what changed.

    Of a delete, an undelete or a move the revision says nothing: it is not the page's latest (PROTOCOL j).
    """
    if kind not in REVISION_CAUSES:
        return None, None, None
    revision = an_object(envelope.event, "revision")
    if kind == "visibility_change":
        return an_id(revision, "rev_id"), None, visibility(revision, PAGE_CHANGE_FLAGS)
    return an_id(revision, "rev_id"), optional_id(revision, "rev_parent_id"), None


def visibility_change(envelope: Envelope, received_at: str) -> Change:
    """One revision that is shown or hidden, current or not (PROTOCOL 15). Raises Unusable."""
    return _of_revision(envelope, received_at, Cause.VISIBILITY)


def revision_create(envelope: Envelope, received_at: str) -> Change:
    """One new revision; or an old one, sent again because an undelete restored it (PROTOCOL i). Raises Unusable."""
    return _of_revision(envelope, received_at, Cause.EDIT if envelope.event.get("rev_parent_id") else Cause.CREATE)


def _of_revision(envelope: Envelope, received_at: str, cause: Cause) -> Change:
    _, _, domain, wiki_id, event = envelope
    rev_id, page_id = an_id(event, "rev_id"), optional_id(event, "page_id")
    shown = cause is Cause.VISIBILITY
    return Change(
        wiki_id=wiki_id,
        domain=domain,
        cause=cause,
        source=envelope.source(received_at),
        rev_ids=(rev_id,),
        titles=titles(optional_text(event, "page_title")),
        page_ids=(page_id,) if page_id else (),
        namespace=namespace(event, "page_namespace"),
        parent_rev_id=None if shown else optional_id(event, "rev_parent_id"),
        claims=((rev_id, visibility(an_object(event, "visibility"), FLAGS)),) if shown else (),
        bot=is_bot(event, "performer"),
    )
