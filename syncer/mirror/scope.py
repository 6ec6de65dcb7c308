"""What a mirror takes of the mutations, by its own settings."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import TYPE_CHECKING

from syncer.model import Kind

if TYPE_CHECKING:
    from syncer.config import MirrorSettings
    from syncer.journal import Stored
    from syncer.model import Mutation


def of_interest(record: Stored, settings: MirrorSettings) -> bool:
    """Judge by the headers alone, as any partner can: the page's namespace, and the one that it left."""
    headers = record.headers
    if not any(fnmatch.fnmatchcase(headers["wiki"], pattern) for pattern in settings.wikis):
        return False
    wanted = {str(number) for number in settings.namespaces}
    return "*" in wanted or headers["namespace"] in wanted or headers.get("prior_namespace") in wanted


def as_taken(mutation: Mutation, settings: MirrorSettings) -> Mutation:
    """A mutation as it is for this mirror: the delete of a page that has left its scope."""
    wanted = settings.namespaces
    if "*" in wanted or mutation.page.namespace in wanted:
        return mutation
    return replace(mutation, kind=Kind.DELETE, revision=None)
