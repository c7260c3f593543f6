"""Tools as OpenAI's models see them: a namespace of TypeScript functions.

OpenAI publishes the form for its open models (the harmony format); the recorded usage of its closed
ones agrees with it to a few tokens, see `docs/tokens.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cascadeflow.types import JsonObject, Tool

__all__ = ["render_tools"]

_DEEPEST: Final = 32


def render_tools(tools: Iterable[Tool]) -> str:
    """Writes tools as OpenAI's chat format shows them to the model.

    >>> from cascadeflow.types import Tool
    >>> print(render_tools([Tool("now", "The time.")]))
    namespace functions {
    <BLANKLINE>
    // The time.
    type now = () => any;
    <BLANKLINE>
    } // namespace functions
    """
    functions = []
    for tool in tools:
        properties = _Types(tool.parameters).properties(tool.parameters, 0)
        arguments = f"_: {{\n{properties}}}" if properties else ""
        functions.append(f"{_comment(tool.description)}type {tool.name} = ({arguments}) => any;")
    return "\n\n".join(["namespace functions {", *functions, "} // namespace functions"])


def _comment(text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        return ""
    return "".join(f"// {line.strip()}".rstrip() + "\n" for line in text.strip().split("\n"))


class _Types:
    """Writes one tool's JSON schema as types.

    A definition is written where it is first referred to; later it is `any`, so that what refers to
    itself comes to an end.
    """

    def __init__(self, root: JsonObject) -> None:
        self._definitions = root.get("$defs") or root.get("definitions") or {}
        self._written: set[str] = set()

    def properties(self, schema: JsonObject, depth: int) -> str:
        """Writes an object's properties, a line each, with what is said of them above."""
        found = schema.get("properties")
        if not isinstance(found, Mapping):
            return ""
        required = schema.get("required") or ()
        lines = []
        for name, value in found.items():
            about = value if isinstance(value, Mapping) else {}
            mark = "" if name in required else "?"
            default = f" // default: {_json(about['default'])}" if "default" in about else ""
            kind = self.type_of(value, depth)
            lines.append(f"{_comment(about.get('description'))}{name}{mark}: {kind},{default}\n")
        return "".join(lines)

    def type_of(self, schema: Any, depth: int) -> str:  # noqa: PLR0911 - a table
        """Writes the type of a value."""
        if depth == _DEEPEST:
            return "any"
        match schema:
            case {"$ref": str(reference)} if reference not in self._written:
                self._written.add(reference)
                name = reference.rpartition("/")[2]
                return self.type_of(self._definitions.get(name), depth + 1)
            case {"enum": [*values]}:
                return " | ".join(map(_json, values))
            case {"const": value}:
                return _json(value)
            case {"anyOf": [*choices]} | {"oneOf": [*choices]}:
                return " | ".join(self.type_of(choice, depth + 1) for choice in choices)
            case {"type": [*names]}:
                return " | ".join(map(str, names))
            case {"type": "integer" | "number"}:
                return "number"
            case {"type": "array"}:
                return self.type_of(schema.get("items"), depth + 1) + "[]"
            case {"type": "object"}:
                return f"{{\n{self.properties(schema, depth + 1)}}}"
            case {"type": str(name)}:
                return name
        return "any"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict)
