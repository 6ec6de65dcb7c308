"""The layout of a store's file. Released entries never change; a new one is appended and brings old files up to date."""

_FIRST = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;\n"
    "CREATE TABLE wikis (wiki TEXT PRIMARY KEY, domain TEXT NOT NULL) WITHOUT ROWID;\n"
    "CREATE TABLE offsets (part INTEGER PRIMARY KEY, next INTEGER NOT NULL);\n"
    # title: NULL when deleted or taken over; facts: revision and attribution as JSON, sealed; touched: rises with every change
    # of a page whose text may be evicted; diverged: why the text is not to be trusted. Rows stay for ever: seq goes on.
    "CREATE TABLE pages (id INTEGER PRIMARY KEY, wiki TEXT NOT NULL, page_id INTEGER NOT NULL, title TEXT,"
    " namespace INTEGER NOT NULL, is_redirect INTEGER NOT NULL, seq INTEGER NOT NULL, live INTEGER NOT NULL, facts BLOB,"
    " touched INTEGER, diverged TEXT, UNIQUE (wiki, page_id));\n"
    'CREATE UNIQUE INDEX "pages by title" ON pages (wiki, title) WHERE title IS NOT NULL;\n'
    'CREATE INDEX "pages by touched" ON pages (touched) WHERE touched IS NOT NULL;\n'
    'CREATE INDEX "pages diverged" ON pages (diverged) WHERE diverged IS NOT NULL;\n'
    # Compressed and sealed.
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, packed BLOB NOT NULL);\n"
    # The keys of a page's facts and text. Rows are appended, with the pages, and never change their size: so SQLite never
    # moves one, and what is overwritten here is gone (see syncer/seal.py).
    "CREATE TABLE seals (id INTEGER PRIMARY KEY, facts BLOB NOT NULL, text BLOB NOT NULL);\n"
    "CREATE TRIGGER seal AFTER INSERT ON pages BEGIN INSERT INTO seals VALUES (new.id, zeroblob(16), zeroblob(16)); END;\n"
    # Titles at which a page was deleted and none has come since.
    "CREATE TABLE gone (wiki TEXT, title TEXT, PRIMARY KEY (wiki, title)) WITHOUT ROWID;\n"
    "CREATE TABLE hidden (wiki TEXT, rev_id INTEGER, text INTEGER NOT NULL, user INTEGER NOT NULL, comment INTEGER NOT NULL,"
    " PRIMARY KEY (wiki, rev_id)) WITHOUT ROWID;\n"
    # Which committed record holds which revision, for recall.
    'CREATE TABLE published (wiki TEXT, rev_id INTEGER, part INTEGER, "offset" INTEGER,'
    ' PRIMARY KEY (wiki, rev_id, part, "offset")) WITHOUT ROWID;\n'
)

# Of which page the record is: a revision may have been another's when it was published.
_SECOND = "ALTER TABLE published ADD COLUMN page INTEGER;\n"
# When pages were last looked at; see seen.py.
_SEEN = (
    "CREATE TABLE seen (id INTEGER PRIMARY KEY, wiki TEXT NOT NULL, at REAL NOT NULL);\n"
    'CREATE INDEX "seen by time" ON seen (wiki, at);\n'
)
# Receipts to be appended yet; see debts.py.
_DEBTS = (
    'CREATE TABLE debts (part INTEGER, "offset" INTEGER, receipt BLOB NOT NULL, PRIMARY KEY (part, "offset")) WITHOUT ROWID;\n'
)
# The offset of the last record that says all of a page by itself: what a mirror may wait for that has not read it.
_WHOLE = "ALTER TABLE pages ADD COLUMN whole INTEGER;\n"
# What a mirror has asked its hub for: how often, and when it does so again; see asked.py.
_ASKED = "CREATE TABLE asked (id INTEGER PRIMARY KEY, tries INTEGER NOT NULL, due REAL NOT NULL);\n"

# Revisions of a dump whose texts are kept beside what mutations say of their pages; see seeds.py.
_SEEDS = (
    "CREATE TABLE seeds (id INTEGER PRIMARY KEY, rev_id INTEGER NOT NULL, sha1 TEXT NOT NULL);\n"
    'CREATE INDEX "seeds by revision" ON seeds (rev_id);\n'
    'CREATE INDEX "pages dumped and untitled" ON pages (id) WHERE title IS NULL AND live AND seq = 0;\n'
)

# Pages that have lost their titles to others and were not read again yet: a few at a time.
_UNTITLED = 'CREATE INDEX "pages untitled" ON pages (id) WHERE title IS NULL AND live;\n'

MIGRATIONS = (_FIRST, _SECOND, _SEEN, _DEBTS, _WHOLE, _ASKED, _SEEDS, _UNTITLED)
