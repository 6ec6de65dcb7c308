"""The layout of a store's file. Released entries never change; a new one is appended and brings old files up to date."""

_FIRST = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;\n"
    "CREATE TABLE wikis (wiki TEXT PRIMARY KEY, domain TEXT NOT NULL) WITHOUT ROWID;\n"
    "CREATE TABLE offsets (part INTEGER PRIMARY KEY, next INTEGER NOT NULL);\n"
    # facts: revision and attribution as JSON; title: NULL when deleted or taken over; last_title: where a deleted page was;
    # touched: rises with every change, for eviction; diverged: why the text is not to be trusted.
    "CREATE TABLE pages (id INTEGER PRIMARY KEY, wiki TEXT NOT NULL, page_id INTEGER NOT NULL, title TEXT,"
    " namespace INTEGER NOT NULL, is_redirect INTEGER NOT NULL, seq INTEGER NOT NULL, live INTEGER NOT NULL, facts BLOB,"
    " touched INTEGER NOT NULL DEFAULT 0, diverged TEXT, last_title TEXT, UNIQUE (wiki, page_id));\n"
    'CREATE UNIQUE INDEX "pages by title" ON pages (wiki, title) WHERE title IS NOT NULL;\n'
    'CREATE INDEX "pages by last title" ON pages (wiki, last_title) WHERE last_title IS NOT NULL;\n'
    'CREATE INDEX "pages by touched" ON pages (touched);\n'
    'CREATE INDEX "pages diverged" ON pages (diverged) WHERE diverged IS NOT NULL;\n'
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, packed BLOB NOT NULL);\n"
    "CREATE TABLE hidden (wiki TEXT, rev_id INTEGER, text INTEGER NOT NULL, user INTEGER NOT NULL, comment INTEGER NOT NULL,"
    " PRIMARY KEY (wiki, rev_id)) WITHOUT ROWID;\n"
    # Which committed record holds which revision, for recall.
    'CREATE TABLE published (wiki TEXT, rev_id INTEGER, part INTEGER, "offset" INTEGER,'
    ' PRIMARY KEY (wiki, rev_id, part, "offset")) WITHOUT ROWID;\n'
)

MIGRATIONS = (_FIRST,)
