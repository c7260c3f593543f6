"""Whatever changes the answer changes the key, and nobody has another's key."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.cache import cache_key, fingerprint, scope_of
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.types import (
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)

MODELS = fingerprint(["a", "b"])
ANN = scope_of(user_id="ann")

text = st.text(max_size=8)
maybe = st.none() | text
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(text, json_values, max_size=3)
parts = st.one_of(
    st.builds(TextPart, text),
    st.builds(
        ImagePart,
        url=maybe,
        data=maybe,
        media_type=maybe,
        detail=st.sampled_from([None, "low", "high"]),
    ),
    st.builds(DocumentPart, url=maybe, file_id=maybe, data=maybe, media_type=maybe, name=maybe),
)
messages = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    text | st.lists(parts, max_size=2).map(tuple),
    tool_calls=st.lists(st.builds(ToolCall, text, text, text), max_size=2).map(tuple),
    tool_call_id=maybe,
    name=maybe,
    extras=objects,
)
requests = st.builds(
    ChatRequest,
    text,
    st.lists(messages, min_size=1, max_size=2).map(tuple),
    max_tokens=st.none() | st.integers(1, 3),
    temperature=st.none() | st.sampled_from([0, 0.0, 1, 1.0, 0.5]),
    top_p=st.none() | st.sampled_from([0.5, 1, 1.0]),
    stop=st.lists(text, max_size=2).map(tuple),
    seed=st.none() | st.integers(0, 2),
    tools=st.lists(
        st.builds(Tool, text, text, objects, strict=st.sampled_from([None, True, False])),
        max_size=2,
    ).map(tuple),
    tool_choice=maybe,
    response_format=st.none()
    | st.builds(ResponseFormat, st.sampled_from(["json_object", "json_schema"]), objects, text),
    logprobs=st.none() | st.integers(0, 2),
    stream=st.booleans(),
    user=maybe,
    extra=objects,
)


def digest(request: ChatRequest, configuration: str = MODELS, scope: str = ANN) -> bytes:
    return cache_key(request, configuration=configuration, scope=scope).digest


def exactly(value: Any) -> Any:
    """Tells `True` from 1, which Python holds for equal, and JSON for different."""
    if isinstance(value, dict):
        return {name: exactly(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [exactly(item) for item in value]
    if hasattr(type(value), "__dataclass_fields__"):
        return [
            type(value).__name__,
            *(exactly(getattr(value, field.name)) for field in fields(value)),
        ]
    return (type(value).__name__, value) if isinstance(value, bool) else value


@given(requests, requests)
def test_two_requests_have_one_key_just_when_they_ask_the_same(
    one: ChatRequest, other: ChatRequest
) -> None:
    alike = replace(other, stream=one.stream, user=one.user)
    equal = exactly(one) == exactly(alike)
    assert (digest(one) == digest(other)) == equal


@given(requests, st.data())
def test_a_change_of_any_field_changes_the_key(request: ChatRequest, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([each.name for each in fields(ChatRequest)]))
    other = data.draw(requests)
    changed = replace(request, **{field: getattr(other, field)})
    same = field in ("stream", "user") or exactly(getattr(request, field)) == exactly(
        getattr(changed, field)
    )
    assert (digest(changed) == digest(request)) == same


CHANGES: list[dict[str, Any]] = [
    {"model": "n"},
    {"messages": (Message("user", "Ho"),)},
    {"messages": (Message("system", "Hi"),)},
    {"messages": (Message("user", (TextPart("Hi"),)),)},
    {"messages": (Message("user", (ImagePart(url="Hi"),)),)},
    {"messages": (Message("user", (ImagePart(data="Hi"),)),)},
    {"messages": (Message("user", (DocumentPart(url="Hi"),)),)},
    {"messages": (Message("user", "Hi", name="ann"),)},
    {"messages": (Message("user", "Hi", extras={"a": 1}),)},
    {"messages": (Message("user", "Hi"), Message("user", ""))},
    {"messages": (Message("assistant", "Hi", (ToolCall("1", "f", "{}"),)),)},
    {"messages": (Message("tool", "Hi", (), "1"),)},
    {"max_tokens": 1},
    {"temperature": 0.0},
    {"top_p": 0.0},
    {"stop": ("a",)},
    {"stop": ("a", "")},
    {"seed": 0},
    {"tools": (Tool("f"),)},
    {"tools": (Tool("f", "does"),)},
    {"tools": (Tool("f", parameters={"type": "object"}),)},
    {"tools": (Tool("f", strict=False),)},
    {"tool_choice": "auto"},
    {"response_format": ResponseFormat("json_object")},
    {"response_format": ResponseFormat("json_schema")},
    {"response_format": ResponseFormat("json_object", {"a": 1})},
    {"response_format": ResponseFormat("json_object", name="b")},
    {"response_format": ResponseFormat("json_object", strict=True)},
    {"logprobs": 0},
    {"extra": {"a": None}},
    {"extra": {"a": 1}},
    {"extra": {"a": True}},
    {"extra": {"a": "1"}},
    {"extra": {"a": [1]}},
]


def test_each_of_these_is_a_key_of_its_own() -> None:
    base = ChatRequest("m", (Message("user", "Hi"),))
    keys = [digest(base), *(digest(replace(base, **change)) for change in CHANGES)]
    keys += [digest(base, fingerprint(["a"])), digest(base, scope=scope_of(user_id="bob"))]
    assert len(set(keys)) == len(keys) == len(CHANGES) + 3


@given(requests)
def test_a_copy_has_the_same_key_whatever_the_order_of_its_fields(request: ChatRequest) -> None:
    turned = replace(request, extra=dict(reversed(list(request.extra.items()))))
    assert digest(copy.deepcopy(turned)) == digest(request)


def test_half_characters_are_told_from_whole_ones() -> None:
    whole, halves = "\U0001f600", "\ud83d\ude00"
    keys = {digest(ChatRequest("m", (Message("user", each),))) for each in (whole, halves)}
    assert len(keys) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"x"])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="JSON"):
        digest(ChatRequest("m", (Message("user", "Hi"),), extra={"a": value}))
    with pytest.raises(InvalidRequestError, match="JSON"):
        fingerprint({"a": value})


# Scopes

names = st.none() | st.text(max_size=4)


@given(names, names, names, names)
def test_two_users_never_share_by_default(
    user: str | None, team: str | None, other: str | None, other_team: str | None
) -> None:
    same = (user, team) == (other, other_team)
    assert (scope_of(user_id=user, team=team) == scope_of(user_id=other, team=other_team)) == same


@given(names, names, names, names)
def test_tenants_share_within_and_never_beyond(
    user: str | None, team: str | None, other: str | None, other_team: str | None
) -> None:
    one = scope_of("tenant", user_id=user, team=team)
    two = scope_of("tenant", user_id=other, team=other_team)
    if team is None or other_team is None:
        assert (one == two) == ((user, team) == (other, other_team))
    else:
        assert (one == two) == (team == other_team)


@given(names, names)
def test_the_kinds_of_scope_are_never_one_another(user: str | None, team: str | None) -> None:
    by_user = scope_of("user", user_id=user, team=team)
    everybody = scope_of("global", user_id=user, team=team)
    assert by_user != everybody == scope_of("global")
    if team is not None:
        assert scope_of("tenant", user_id=user, team=team) not in {by_user, everybody}


def test_a_scope_names_nobody_and_must_exist() -> None:
    assert "ann" not in scope_of(user_id="ann")
    wrong: Any = "planet"
    with pytest.raises(ConfigurationError, match="planet"):
        scope_of(wrong)
