"""Every way a page can change, one by one, on pages of its own: what the recorder lets happen and what random work must draw.

A kind is a generator. What comes after its last ``yield`` is the one thing that is recorded; at each ``yield`` there is something
that a hub would know by then. Its titles are ``A``, ``B`` and so on, each behind the name of the kind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .files import export, png
from .mwapi import Client
from .wiki import PASSWORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD = {"2010-01-01T00:00:00Z": "old one", "2011-01-01T00:00:00Z": "old two"}
TEXT = "== Heading ==\nSome text, as long as a text has to be for its patch to be shorter than itself.\n"
CSS = "a {\n\tcolor: red;\n}\n" * 3
SCRIPT = "// дом\nmw.loader.load( 'site' );\n" * 3


class Cast:
    """Those who act."""

    def __init__(self, api_url: str) -> None:
        self.alice = Client(api_url, "Alice", PASSWORDS["Alice"])  # a sysop, who may suppress as well
        self.vandal = Client(api_url, "Vandal", PASSWORDS["Vandal"])
        self.bot = Client(api_url, "LabBot@lab", PASSWORDS["LabBot@lab"])
        self.reader = Client(api_url)


@dataclass
class Stage:
    """Where one kind happens. ``titles`` are those it named."""

    cast: Cast
    kind: str
    titles: list[str] = field(default_factory=list)

    def title(self, name: str) -> str:
        """A title that is only this kind's, in the namespace that ``name`` begins with."""
        namespace, _, local = name.rpartition(":")
        title = f"{namespace}:" * bool(namespace) + f"{self.kind.replace('_', ' ').capitalize()} {local}"
        if title not in self.titles:
            self.titles.append(title)
        return title

    def edit(self, name: str, text: str, who: Client | None = None, **more: Any) -> int:
        """Save a text; the new revision's id."""
        done = (who or self.cast.alice).act("edit", title=self.title(name), text=text, summary=f"{self.kind}: {name}", **more)
        return int(done["edit"].get("newrevid", 0))

    def save(self, name: str, **slots: str) -> None:
        """Save a page's text, what stands beside it, or both."""
        self.cast.alice.act("labslots", title=self.title(name), summary=f"{self.kind}: {name}", **slots)

    def act(self, action: str, name: str | None = None, **more: Any) -> None:
        """Do something as a sysop, to a page."""
        where = {} if name is None else {"title": self.title(name)}
        self.cast.alice.act(action, reason="why", **where, **more)

    def move(self, name: str, to: str, **more: Any) -> None:
        """Rename a page."""
        self.act("move", **{"from": self.title(name)}, to=self.title(to), **more)

    def import_(self, name: str) -> None:
        """Import two old revisions of a page."""
        dump = export(self.title(name), OLD)
        self.cast.alice.act("import", xml=dump, interwikiprefix="old", summary="why")

    def upload(self, name: str, grey: int) -> None:
        """Upload a picture of that grey."""
        file = self.title(name).removeprefix("File:")
        self.cast.alice.act("upload", file=png(grey), filename=file, ignorewarnings=1, text="A picture.", comment="why")

    def times(self, name: str, **more: Any) -> list[str]:
        """When a page's revisions were saved, oldest first; those in its archive, if so ``prop``."""
        prop, short = more.get("prop", "revisions"), more.get("short", "rv")
        asked = {"prop": prop, "titles": self.title(name), f"{short}prop": "timestamp", f"{short}limit": 50}
        (page,) = self.cast.alice.query(**asked)["pages"]
        return sorted(revision["timestamp"] for revision in page[prop])

    def archived(self, name: str) -> list[str]:
        """The same of a page that is deleted."""
        return self.times(name, prop="deletedrevisions", short="drv")


def tick() -> None:
    """Let the second pass: MediaWiki's timestamps have no parts of it."""
    time.sleep(1.02)


def create(stage: Stage) -> Iterator[None]:
    yield
    stage.edit("A", TEXT)


def edit(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.edit("A", TEXT + "More.")


def minor(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.edit("A", TEXT + "More.", minor=1)


def bot_edit(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.edit("A", TEXT + "More.", stage.cast.bot, bot=1)


def null_edit(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.edit("A", TEXT)


def two_in_one_second(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    if time.time() % 1 > 0.3:
        time.sleep(1 - time.time() % 1)
    stage.edit("A", TEXT + "More.")
    stage.edit("A", TEXT + "More still.")


def blank(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.edit("A", "", stage.cast.vandal)


def rollback(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    stage.edit("A", "VANDAL", stage.cast.vandal)
    stage.edit("A", "VANDAL was here", stage.cast.vandal)
    yield
    stage.cast.alice.act("rollback", title=stage.title("A"), user="Vandal", markbot=1)


def redirect(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    stage.edit("B", TEXT)
    yield
    stage.edit("A", f"#REDIRECT [[{stage.title('B')}]]")


def retarget(stage: Stage) -> Iterator[None]:
    stage.edit("B", TEXT)
    stage.edit("A", f"#REDIRECT [[{stage.title('B')}]]")
    yield
    stage.edit("A", f"#REDIRECT [[{stage.title('C')}]]")


def unredirect(stage: Stage) -> Iterator[None]:
    stage.edit("A", f"#REDIRECT [[{stage.title('B')}]]")
    yield
    stage.edit("A", TEXT)


def move(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.move("A", "B")


def move_without_redirect(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.move("A", "B", noredirect=1)


def move_over_redirect(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    stage.move("A", "B")
    yield
    stage.move("B", "A")


def move_with_talk_and_subpages(stage: Stage) -> Iterator[None]:
    for name in ("User:A", "User talk:A", "User:A/sub", "User talk:A/sub"):
        stage.edit(name, f"{TEXT}{name}")
    for name in ("User talk:B", "User:B/sub", "User talk:B/sub"):
        stage.title(name)
    yield
    stage.move("User:A", "User:B", movetalk=1, movesubpages=1)


def move_across_namespaces(stage: Stage) -> Iterator[None]:
    stage.edit("User:A", TEXT)
    yield
    stage.move("User:A", "A")


def delete(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    stage.edit("A", TEXT + "More.")
    yield
    stage.act("delete", "A")


def recreate(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.act("delete", "A")
    stage.edit("A", TEXT + "Again.")


def undelete(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    stage.edit("A", TEXT + "More.")
    yield
    stage.act("delete", "A")
    yield
    stage.act("undelete", "A")


def undelete_under_new_id(stage: Stage) -> Iterator[None]:
    """Part of it is restored, and lives on elsewhere with its id; what comes back now needs another."""
    stage.edit("A", TEXT)
    tick()
    stage.edit("A", TEXT + "More.")
    yield
    stage.act("delete", "A")
    stage.act("undelete", "A", timestamps=stage.archived("A")[0])
    stage.move("A", "B", noredirect=1)
    yield
    stage.act("undelete", "A")


def undelete_partly(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    tick()
    stage.edit("A", TEXT + "More.")
    yield
    stage.act("delete", "A")
    yield
    stage.act("undelete", "A", timestamps=stage.archived("A")[0])


def undelete_into_page(stage: Stage) -> Iterator[None]:
    """The rest is restored into the page that part of it has become, and is newer."""
    stage.edit("A", TEXT)
    tick()
    stage.edit("A", TEXT + "More.")
    yield
    stage.act("delete", "A")
    stage.act("undelete", "A", timestamps=stage.archived("A")[0])
    yield
    stage.act("undelete", "A")


def protect(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.act("protect", "A", protections="edit=sysop", expiry="infinite")


def import_new(stage: Stage) -> Iterator[None]:
    yield
    stage.import_("A")


def import_under(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    yield
    stage.import_("A")


def merge(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    stage.edit("A", TEXT + "More.")
    tick()
    stage.edit("B", TEXT + "Others.")
    yield
    stage.act("mergehistory", **{"from": stage.title("A")}, to=stage.title("B"))


def merge_partly(stage: Stage) -> Iterator[None]:
    stage.edit("A", TEXT)
    tick()
    stage.edit("A", TEXT + "More.")
    tick()
    stage.edit("B", TEXT + "Others.")
    yield
    stage.act("mergehistory", **{"from": stage.title("A")}, to=stage.title("B"), timestamp=stage.times("A")[0])


def upload(stage: Stage) -> Iterator[None]:
    yield
    stage.upload("File:A.png", 1)


def upload_again(stage: Stage) -> Iterator[None]:
    stage.upload("File:A.png", 2)
    tick()
    yield
    stage.upload("File:A.png", 3)


def file_revert(stage: Stage) -> Iterator[None]:
    stage.upload("File:A.png", 4)
    tick()
    stage.upload("File:A.png", 5)
    tick()
    asked = {"prop": "imageinfo", "iiprop": "archivename", "iilimit": 5, "titles": stage.title("File:A.png")}
    (page,) = stage.cast.alice.query(**asked)["pages"]
    (old,) = [version["archivename"] for version in page["imageinfo"] if "archivename" in version]
    yield
    file = stage.title("File:A.png").removeprefix("File:").replace(" ", "_")
    stage.cast.alice.act("filerevert", filename=file, archivename=old, comment="why")


def content_model(stage: Stage) -> Iterator[None]:
    stage.edit("A", '{\n    "a": 1\n}')
    yield
    stage.cast.alice.act("changecontentmodel", title=stage.title("A"), model="json", summary="why")


def json_page(stage: Stage) -> Iterator[None]:
    stage.edit("A", '{"a": 1, "β": []}', contentmodel="json")
    yield
    stage.edit("A", '{"a": 1, "β": [2]}')


def css_page(stage: Stage) -> Iterator[None]:
    stage.edit("User:Alice/A.css", CSS, contentmodel="css")
    yield
    stage.edit("User:Alice/A.css", CSS + "b {}\n")


def javascript_page(stage: Stage) -> Iterator[None]:
    stage.edit("User:Alice/A.js", SCRIPT, contentmodel="javascript")
    yield
    stage.edit("User:Alice/A.js", SCRIPT + "void 0;\n")


def second_slot(stage: Stage) -> Iterator[None]:
    """What stands beside the text changes, and the text does not."""
    stage.save("A", text=TEXT, facts='{"a": 1}')
    yield
    stage.save("A", facts='{"a": 2}')


def both_slots(stage: Stage) -> Iterator[None]:
    stage.save("A", text=TEXT, facts='{"a": 1}')
    yield
    stage.save("A", text=TEXT + "More.", facts='{"a": 2}')


def lua_page(stage: Stage) -> Iterator[None]:
    stage.edit("Module:A", "local p = {}\nreturn p\n")
    yield
    stage.edit("Module:A", "local p = {}\nfunction p.f() return 'é' end\nreturn p\n")


def hide(stage: Stage) -> Iterator[None]:
    yield from _hides(stage, "content|comment", suppress="no")


def show(stage: Stage) -> Iterator[None]:
    rev_id = stage.edit("A", TEXT)
    stage.edit("A", TEXT + "More.")
    yield
    stage.act("revisiondelete", type="revision", ids=rev_id, hide="content|user")
    yield
    stage.act("revisiondelete", type="revision", ids=rev_id, show="content|user")


def suppress(stage: Stage) -> Iterator[None]:
    yield from _hides(stage, "content|user|comment", suppress="yes")


def suppress_page(stage: Stage) -> Iterator[None]:
    """A deletion that hides all of the page: only a form does it, not the API."""
    stage.edit("A", TEXT)
    yield
    stage.cast.alice.submit("delete", stage.title("A"), wpReason="why", wpSuppress=1)


def suppress_current(stage: Stage) -> Iterator[None]:
    """Of the current revision, the text cannot be hidden: what can, is."""
    stage.edit("A", TEXT)
    rev_id = stage.edit("A", TEXT + "More.")
    yield
    stage.act("revisiondelete", type="revision", ids=rev_id, hide="user|comment", suppress="yes")


def _hides(stage: Stage, parts: str, **more: Any) -> Iterator[None]:
    rev_id = stage.edit("A", TEXT)
    stage.edit("A", TEXT + "More.")
    yield
    stage.act("revisiondelete", type="revision", ids=rev_id, hide=parts, **more)


KINDS: dict[str, Callable[[Stage], Iterator[None]]] = {
    kind.__name__: kind
    for kind in (
        *(create, edit, minor, bot_edit, null_edit, two_in_one_second, blank, rollback, redirect, retarget, unredirect),
        *(move, move_without_redirect, move_over_redirect, move_with_talk_and_subpages, move_across_namespaces),
        *(delete, recreate, undelete, undelete_under_new_id, undelete_partly, undelete_into_page, protect),
        *(import_new, import_under, merge, merge_partly, upload, upload_again, file_revert),
        *(content_model, json_page, css_page, javascript_page, lua_page, second_slot, both_slots),
        *(hide, show, suppress, suppress_current, suppress_page),
    )
}
