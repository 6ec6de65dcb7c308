"""page_change, revision-visibility-change and revision-create for a wiki that cannot run the extension which emits them.

    the wiki's database ──triggers──► log table ──► rules ──► events

Triggers put every change of page, revision and logging, in commit order, into a table; the rules turn those rows into events
as the real extension's recordings show them, silences included: dummy revisions (protect, import, file versions, content
model), a full history merge and a block that hides its user have no page_change; a suppression has no performer.
"""

from __future__ import annotations

from .run import start

__all__ = ["start"]
