"""JSON in the form a request asks for, made around an answer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["json_answer", "json_for_schema"]

_DEEPEST: Final = 16
"""A schema that refers to itself ends here, with nothing."""

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def json_answer(answer: str, schema: Mapping[str, Any] | None) -> str:
    """Gives the answer as JSON text.

    Args:
        answer: given as it is when it is a JSON object already.
        schema: the JSON schema asked for; `None` when any object will do: `{"answer": …}`.
    """
    try:
        if isinstance(json.loads(answer), dict):
            return answer
    except ValueError:
        pass  # not JSON yet: that is what the rest is for
    content = {"answer": answer} if schema is None else json_for_schema(schema, answer)
    return json.dumps(content, ensure_ascii=False)


def json_for_schema(schema: Mapping[str, Any], answer: str) -> Any:
    """Gives a value that fits a JSON schema, the answer in its texts and the answer's number in its
    numbers.

    Held to: `type, properties, required, items, minItems, enum, const, anyOf, oneOf, allOf, $ref`
    within the schema, `minimum, maximum, maxLength`. Not to: `pattern, format` and the rest.

    >>> schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    >>> json_for_schema(schema, "Paris")
    {'city': 'Paris'}
    """  # noqa: D205 - one sentence
    return _value(schema, answer, schema, 0)


def _value(schema: Any, answer: str, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    schema = _resolved(schema, root)
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return _value(_not_null(alternatives), answer, root, depth + 1)
    kind = _kind(schema)
    if kind == "object":
        properties = schema.get("properties", {})
        wanted = schema.get("required", properties)
        return {name: _value(properties.get(name, {}), answer, root, depth + 1) for name in wanted}
    if kind == "array":
        item = _value(schema.get("items", {}), answer, root, depth + 1)
        return [item] * max(1, schema.get("minItems", 1))
    return _scalar(kind, schema, answer)


def _kind(schema: Mapping[str, Any]) -> str:
    if "const" in schema or schema.get("enum"):
        return "choice"
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        return next((str(each) for each in kind if each != "null"), "null")
    return str(kind)


def _choice(schema: Mapping[str, Any], answer: str) -> Any:
    if "const" in schema:
        return schema["const"]
    named = [each for each in schema["enum"] if str(each) == answer]
    return named[0] if named else schema["enum"][0]


def _scalar(kind: str, schema: Mapping[str, Any], answer: str) -> Any:
    if kind == "choice":
        return _choice(schema, answer)
    if kind in {"integer", "number"}:
        number = _NUMBER.search(answer)
        value = float(number[0]) if number else 1.0
        value = max(value, schema.get("minimum", value))
        value = min(value, schema.get("maximum", value))
        return int(value) if kind == "integer" or value.is_integer() else value
    if kind == "boolean":
        return answer.strip().lower() not in {"no", "false"}
    if kind == "null":
        return None
    return answer[: schema.get("maxLength", len(answer))]


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(_DEEPEST):
        if "$ref" in schema:
            target: Any = root
            for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
                target = target.get(step, {}) if step else target
            schema = target
        elif schema.get("allOf"):
            merged: dict[str, Any] = {}
            for part in schema["allOf"]:
                for key, value in _resolved(part, root).items():
                    both = isinstance(value, dict) and isinstance(merged.get(key), dict)
                    merged[key] = {**merged[key], **value} if both else value
            schema = {**{k: v for k, v in schema.items() if k != "allOf"}, **merged}
        else:
            break
    return schema


def _not_null(alternatives: list[Any]) -> Any:
    return next((each for each in alternatives if each != {"type": "null"}), alternatives[0])
