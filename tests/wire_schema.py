"""The wire's schema, as readers may take it (later minor versions add fields) and as this version has to write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]

FILE = Path(__file__).resolve().parents[1] / "schema" / "page-mutation" / "1.0.0.json"
SCHEMA: dict[str, Any] = json.loads(FILE.read_text("utf-8"))


def _closed(node: Any, *, defines: bool = True) -> Any:
    """The same schema without room for a field that it does not name."""
    if isinstance(node, list):
        return [_closed(part, defines=False) for part in node]
    if not isinstance(node, dict):
        return node
    # What stands under `if`, `not` and the like speaks of fields that are defined elsewhere.
    closed = {
        name: {key: _closed(inner) for key, inner in part.items()} if name in {"properties", "$defs"} and defines
        else _closed(part, defines=defines and name == "items")
        for name, part in node.items()
    }  # fmt: skip
    if defines and "properties" in node:
        closed["additionalProperties"] = False
    return closed


def _strict() -> dict[str, Any]:
    strict: dict[str, Any] = _closed(SCHEMA)
    strict["properties"]["schema"] = {"const": f"page-mutation/{FILE.stem}"}
    strict["properties"]["cause"] = {"enum": strict["properties"]["cause"]["examples"]}
    strict["properties"]["patch"]["properties"]["format"] = {"const": "splice/1"}
    return strict


LENIENT = jsonschema.Draft202012Validator(SCHEMA)
STRICT = jsonschema.Draft202012Validator(_strict())
