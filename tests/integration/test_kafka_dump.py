"""A partner begins a mirror with a dump, with no more rights on Kafka than it needs to follow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.dumped import dump, page
from tests.secure import said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.secure import Secure


def test_a_partner_begins_with_a_dump(secure: Secure, tmp_path: Path) -> None:
    place = secure.place(tmp_path, "partner")
    (tmp_path / "dump.xml").write_bytes(dump(page(999_999, "Of the dump", "one", 1), wiki="enwiki", domain="en.wikipedia.org"))
    command = ("mirror", "bootstrap", str(tmp_path / "dump.xml"), "--json", "--date")
    came = said(place, *command, "2020-01-01")
    assert (came.code, "goes back to" in came.err) == (78, True), came.err
    came = said(place, *command, datetime.now(UTC).isoformat())
    assert came.code == 0, came.err
    (line,) = came.lines
    assert (line["taken"], set(line["follows_from"].values())) == (1, {0})
    came = said(place, "mirror", "follow", "--until-idle", "1", "--json")
    assert came.code == 0, came.err
    (line,) = came.lines
    assert (line["diverged"], line["pages_diverged"]) == ({}, 0)
    titles = {line["title"] for line in said(place, "mirror", "export", "--wiki", "enwiki").lines}
    assert "Of the dump" in titles
    assert len(titles) > 1
