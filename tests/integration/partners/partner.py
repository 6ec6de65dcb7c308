"""A partner of one's own, with confluent-kafka: pages and offsets in one SQLite file, written in the same transactions.

python partner.py SETTINGS TOPIC NAMESPACES FILE     SETTINGS: lines of key=value, as librdkafka knows them

Ends at the end of the topic, and prints a JSON line a page.
"""

# mypy: ignore-errors
# It stands by itself, beside the five lines of docs/patches.md as a module of that name.

import hashlib
import json
import sqlite3
import sys
from pathlib import Path

from apply import apply
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

TABLES = """
CREATE TABLE IF NOT EXISTS pages (key TEXT PRIMARY KEY, seq, wiki, page_id, title, namespace, rev_id, sha1, text BLOB);
CREATE TABLE IF NOT EXISTS offsets (partition INTEGER PRIMARY KEY, next INTEGER, topic_id TEXT);
"""


def take(db: sqlite3.Connection, key: str, headers: dict[str, str], value: bytes, wanted: set[str]) -> None:
    if wanted.isdisjoint({headers["namespace"], headers.get("prior_namespace")}):
        return  # not ours, and was not: no need to parse it
    m = json.loads(value)
    page, revision = m["page"], m["revision"]
    seq, text = db.execute("SELECT seq, text FROM pages WHERE key = ?", [key]).fetchone() or (0, None)
    if m["seq"] <= seq:
        return  # had it already
    if m["kind"] not in {"snapshot", "patch", "redact", "delete"}:
        sys.exit(f"{key}: kind {m['kind']} is of a newer version than this program")
    if page["page_id"] is None:  # deleted, and nobody ever said under which id
        erased = "UPDATE pages SET (page_id, title, namespace, rev_id, sha1, text) = (NULL, NULL, NULL, NULL, NULL, NULL)"
        db.execute(f"{erased} WHERE wiki = ? AND title = ?", [m["wiki_id"], page["title"]])
    if m["kind"] == "delete" or headers["namespace"] not in wanted:
        db.execute("REPLACE INTO pages (key, seq) VALUES (?, ?)", [key, m["seq"]])  # the number alone stays
        return
    if m["kind"] == "snapshot":
        text = None if m["text"] is None else m["text"].encode()
    elif m["kind"] == "patch":
        text = apply(text, m["patch"]["ops"]) if m["seq"] == seq + 1 and sha1(text) == m["base"]["sha1"] else None
    if sha1(text) != revision["sha1"]:
        text = None  # a divergence: what is no text here, and has a hash, is to be fetched from elsewhere
    db.execute("UPDATE pages SET title = NULL WHERE wiki = ? AND title = ?", [m["wiki_id"], page["title"]])
    facts = [page["page_id"], page["title"], page["namespace"], revision["rev_id"], revision["sha1"]]
    db.execute("REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [key, m["seq"], m["wiki_id"], *facts, text])


def sha1(text: bytes | None) -> str | None:
    return None if text is None else hashlib.sha1(text, usedforsecurity=False).hexdigest()


def follow(settings: dict[str, str], topic: str, db: sqlite3.Connection, wanted: set[str]) -> None:
    admin = AdminClient(settings)
    told = admin.describe_topics(TopicCollection([topic]))[topic].result()
    known = {part: (offset, topic_id) for part, offset, topic_id in db.execute("SELECT * FROM offsets")}
    if any(topic_id != str(told.topic_id) for _, topic_id in known.values()):
        sys.exit(f"{topic} was made anew: these offsets are of another one")
    consumer = Consumer(
        {
            **settings,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",  # what retention has removed is missing here: that must not pass unnoticed
            "enable.auto.commit": False,
            "group.id": "partner.own",  # the library insists on a name; nothing is kept under it
            "enable.partition.eof": True,  # only so that this program ends
        }
    )
    parts = [part.id for part in told.partitions]
    consumer.assign([TopicPartition(topic, part, known[part][0] if part in known else OFFSET_BEGINNING) for part in parts])
    while parts:
        for message in consumer.consume(500, 0.2):
            if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                parts.remove(message.partition())
                continue
            if message.error():
                raise KafkaException(message.error())
            headers = {name: value.decode() for name, value in message.headers()}
            take(db, message.key().decode(), headers, message.value(), wanted)
            db.execute("REPLACE INTO offsets VALUES (?, ?, ?)", [message.partition(), message.offset() + 1, str(told.topic_id)])
        db.commit()  # pages and offsets: all of it or nothing
    consumer.close()


def main() -> None:
    file, topic, namespaces, path = sys.argv[1:]
    settings = dict(line.split("=", 1) for line in Path(file).read_text().splitlines())
    db = sqlite3.connect(path)
    db.executescript(TABLES)
    follow(settings, topic, db, set(namespaces.split(",")))
    for row in db.execute("SELECT wiki, page_id, title, namespace, rev_id, sha1, text FROM pages WHERE page_id IS NOT NULL"):
        page = dict(zip(("wiki_id", "page_id", "title", "namespace", "rev_id", "sha1", "text"), row, strict=True))
        print(json.dumps(page | {"text": None if page["text"] is None else page["text"].decode()}))


if __name__ == "__main__":
    main()
