"""Write the golden vectors of every patch format: ``python schema/vectors/make.py``.

The operations are written by hand, not computed: a vector says what a patch means, whatever finds it.
"""  # noqa: INP001 - a script beside its output

import hashlib
import json
from pathlib import Path

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
TABLE = "{|\n! Year !! Ships\n|-\n| 1901 || 12\n|-\n| 1902 || 15\n|}\n"

# name, base, operations, result
APPLIES = [
    ("nothing to do", "The lamp is lit.\n", [], "The lamp is lit.\n"),
    ("nothing to do on nothing", "", [], ""),
    ("from nothing", "", [[0, 0, "A new page.\n"]], "A new page.\n"),
    ("to nothing", "Blanked.\n", [[0, 9, ""]], ""),
    ("all of it", "old", [[0, 3, "new"]], "new"),
    ("at the start", "lamp\n", [[0, 0, "The "]], "The lamp\n"),
    ("at the end", "The lamp", [[8, 0, "s"]], "The lamps"),
    ("a typo", "The keper climbs.\n", [[6, 0, "e"]], "The keeper climbs.\n"),
    ("a word", "A red door, a red roof.\n", [[2, 3, "green"]], "A green door, a red roof.\n"),
    ("both ends", "one two three", [[0, 3, "1"], [8, 5, "3"]], "1 two 3"),
    ("they touch", "abcd", [[0, 2, "x"], [2, 2, "y"]], "xy"),
    ("twice at one place", "ad", [[1, 0, "b"], [1, 0, "c"]], "abcd"),
    ("it does nothing", "same", [[2, 0, ""]], "same"),
    ("it repeats what it deletes", "same", [[0, 4, "same"]], "same"),
    ("two bytes a letter", "Čas běží dál.\n", [[5, 7, "letí rychle"]], "Čas letí rychle dál.\n"),
    ("one of two letters with a byte in common", "é", [[0, 2, "è"]], "è"),
    ("three bytes a letter", "灯台は白い。\n", [[9, 6, "赤い"]], "灯台は赤い。\n"),
    ("Devanagari", "दीपक जलता है।\n", [[13, 12, "बुझता"]], "दीपक बुझता है।\n"),
    ("right to left", "המגדל גבוה\n", [[11, 8, "ישן"]], "המגדל ישן\n"),
    ("four bytes a character", "a𐐷c", [[1, 4, "𐑃"]], "a𐑃c"),
    ("behind an astral character", "𐍈𐍈 end", [[9, 3, "fin"]], "𐍈𐍈 fin"),
    ("a joined emoji is taken apart", FAMILY, [[4, 7, ""]], "\U0001f469\u200d\U0001f467"),
    ("a combining accent goes", "cafe\u0301", [[4, 2, ""]], "cafe"),
    ("composed and decomposed are not the same", "caf\u00e9", [[3, 2, "e\u0301"]], "cafe\u0301"),
    ("no newline at the end", "one\ntwo", [[7, 0, "\n"]], "one\ntwo\n"),
    ("the newline at the end goes", "one\n", [[3, 1, ""]], "one"),
    ("CRLF to LF", "one\r\ntwo\r\n", [[3, 1, ""], [8, 1, ""]], "one\ntwo\n"),
    ("a lone CR", "one\rtwo", [[3, 1, "\r\n"]], "one\r\ntwo"),
    ("line and paragraph separators are text", "a\u2028b\u2029c", [[1, 3, " "], [5, 3, "\u0085"]], "a b\u0085c"),
    ("NUL and other controls", "a\0b\x1fc", [[1, 1, "\x01"], [3, 1, "\x7f"]], "a\x01b\x7fc"),
    ("a byte order mark is text", "\ufefftext", [[0, 3, ""]], "text"),
    ("noncharacters are text", "\uffff", [[0, 0, "\ufffe\U0010ffff"]], "\ufffe\U0010ffff\uffff"),
    ("what JSON escapes", 'say "a\\b"\t!', [[5, 3, '"\\/\b\f']], 'say ""\\/\b\f"\t!'),
    ("it looks like an escape", "\\u00e9", [[2, 4, "00e8"]], "\\u00e8"),
    ("a cell of a table", TABLE, [[len("{|\n! Year !! Ships\n|-\n| 1901 || "), 2, "13"]], TABLE.replace("12", "13")),
    ("a row of a table", TABLE, [[len(TABLE) - 3, 0, "|-\n| 1903 || 9\n"]], TABLE[:-3] + "|-\n| 1903 || 9\n|}\n"),
    ("a section moves", "== A ==\na\n== B ==\nb\n", [[0, 10, ""], [20, 0, "== A ==\na\n"]], "== B ==\nb\n== A ==\na\n"),
    (
        "far into a long text",
        "lighthouse\n" * 900,
        [[5505, 5, "ship"]],
        "lighthouse\n" * 500 + "lightship\n" + "lighthouse\n" * 399,
    ),
]

# name, base, what is no patch of it
REFUSED = [
    ("beyond the end", "abc", [[3, 1, ""]]),
    ("it begins beyond the end", "abc", [[4, 0, "x"]]),
    ("before the start", "abc", [[-1, 1, "x"]]),
    ("it deletes less than nothing", "abc", [[2, -1, "x"]]),
    ("they overlap", "abcd", [[0, 3, "x"], [2, 1, "y"]]),
    ("they descend", "abcd", [[2, 1, "x"], [0, 1, "y"]]),
    ("it begins in a character", "é", [[1, 1, "x"]]),
    ("it ends in a character", "é", [[0, 1, "x"]]),
    ("it inserts in a character", "𐐷", [[2, 0, "x"]]),
    ("no text", "abc", [[0, 1, None]]),
    ("a number for a text", "abc", [[0, 1, 2]]),
    ("a text for a number", "abc", [["0", 1, "x"]]),
    ("a fraction", "abc", [[0.5, 1, "x"]]),
    ("a whole fraction", "abc", [[0.0, 1, "x"]]),
    ("true is no number", "abc", [[True, 1, "x"]]),
    ("too short", "abc", [[0, 1]]),
    ("too long", "abc", [[0, 1, "x", 1]]),
    ("no operation", "abc", [0]),
    ("no list", "abc", {"0": [0, 1, "x"]}),
    ("nothing", "abc", None),
    ("half a surrogate pair", "abc", [[0, 1, "\ud83d"]]),
]


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def main() -> None:
    """Write the file of ``splice/1``."""
    applies = [
        {"name": name, "base": base, "ops": ops, "result": result, "base_sha1": _sha1(base), "result_sha1": _sha1(result)}
        for name, base, ops, result in APPLIES
    ]
    refused = [{"name": name, "base": base, "ops": ops} for name, base, ops in REFUSED]
    vectors = {"format": "splice/1", "applies": applies, "refused": refused}
    Path(__file__).with_name("splice-1.json").write_text(json.dumps(vectors, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
