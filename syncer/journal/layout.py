"""The layout of an embedded journal. Released entries never change; a new one is appended and brings old files up to date."""

from syncer.journal import COMPACTED
from syncer.journal.values import OWN_KEYS, SCHEMA

FIRST_TOPICS = ("changes", "mutations", "set-aside", "positions", "progress", "watermarks")


def _table(topic: str) -> str:
    """The layout of a topic: a record's value is packed, sealed, both or neither (see values.py)."""
    return (
        f'CREATE TABLE "{topic}" ("offset" INTEGER PRIMARY KEY AUTOINCREMENT, part INTEGER NOT NULL, key TEXT NOT NULL,'
        " headers BLOB NOT NULL, value BLOB NOT NULL, packed INTEGER NOT NULL, appended_at REAL NOT NULL);\n"
        f'CREATE INDEX "{topic} by part" ON "{topic}" (part{", key" if topic in COMPACTED else ""});\n'
    )


MIGRATIONS = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;\n"
    "CREATE TABLE owners (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;\n"
    # Where a partition begins once retention has cut it, and how many bytes of values a topic holds.
    "CREATE TABLE floors (topic TEXT, part INTEGER, floor INTEGER NOT NULL, PRIMARY KEY (topic, part)) WITHOUT ROWID;\n"
    "CREATE TABLE used (topic TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;\n" + "".join(map(_table, FIRST_TOPICS)),
    SCHEMA + 'CREATE INDEX "mutations by key" ON "mutations" (key);\n',
    _table("receipts"),
    _table("manifests"),
    _table("requests"),
    # Beside the pages, where tombstones are: those go after some time.
    _table("pages") + OWN_KEYS + 'CREATE INDEX "pages gone" ON "pages" (appended_at) WHERE packed = 0;\n',
)
