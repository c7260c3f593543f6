"""Fuzzes the codecs, led by coverage: whatever the bytes are, a typed error at worst.

    python tests/providers/fuzz_codecs.py --seconds 60 [--codec NAME ...]
    python tests/providers/fuzz_codecs.py --codec NAME --reproduce FILE

Each codec is fuzzed in a process of its own, by atheris (libFuzzer). It starts from the recorded
exchanges, which are read where they lie, and from the few of `WRITTEN`. JSON is changed as JSON, so
that changes reach what stands behind the parser. A finding is anything but a `ProviderError`, an
answer whose fields have other types than they state, a stream whose events depend on where it was
cut, and an answer that cannot go back. The exit status says: 0 nothing was found, 1 something, 3
atheris has no wheel here.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).resolve()
FOUND, NO_WHEEL = 1, 3

WHOLE, ERROR, STREAM, CUT, INSTEAD = range(5)
"""An input's first byte, modulo 5: how the rest is read. The second: the status, where to cut."""
STATUSES = (200, 204, 301, 400, 401, 403, 404, 413, 422, 424, 429, 498, 500, 502, 503, 529)

RECORDED = {"openai": ("openai", "groq", "openrouter", "azure", "zai"), "mistral": ("mistral",)}
"""Whose recordings a codec starts from, where it is not its own name alone."""

WRITTEN = {
    "cohere": [
        {"type": "message-start", "id": "r", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text"}}}},
        {
            "type": "content-delta",
            "index": 0,
            "delta": {"message": {"content": {"text": "a"}}},
            "logprobs": {"text": "a", "token_ids": [1], "logprobs": [-0.5]},
        },
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "p"}}},
        {
            "type": "tool-call-start",
            "index": 0,
            "delta": {
                "message": {
                    "tool_calls": {"id": "c", "function": {"name": "f", "arguments": ""}},
                }
            },
        },
        {
            "type": "tool-call-delta",
            "index": 0,
            "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}},
        },
        {"type": "citation-start", "index": 0, "delta": {"message": {"citations": {"start": 0}}}},
        {
            "type": "message-end",
            "delta": {
                "finish_reason": "COMPLETE",
                "error": "e",
                "usage": {"billed_units": {"input_tokens": 1.0}, "tokens": {"output_tokens": 2}},
            },
        },
    ]
}
"""Streams of protocols of which none is recorded."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 2**53, 2**64, -(2**70), 1e308, float("nan"), float("inf")),
    *(
        "",
        "x",
        "0",
        "\ud800",
        "text",
        "error",
        "stop",
        "function",
        "null",
        "9" * 400,
        "{",
        "a\n\nb",
    ),
    *([], [[]], [None], ["x"], [{}], {}, {"": None}, {"type": "text"}, {"error": {}}, {"text": []}),
)


# The inputs


def recordings() -> Path:
    return Path(os.environ.get("CASCADEFLOW_RECORDINGS", HERE.parents[3] / "shared" / "recordings"))


def seeds(name: str, protocol: str) -> Iterator[bytes]:
    for source in RECORDED.get(name, (name, protocol)):
        file = recordings() / f"{source}.jsonl.gz"
        if not file.is_file():
            continue
        with gzip.open(file, "rt") as lines:
            for line in lines:
                yield from seeds_of(json.loads(line))
    events = [f"data: {json.dumps(event)}\n\n" for event in WRITTEN.get(protocol, ())]
    if events:
        yield bytes([STREAM, 0]) + "".join(events).encode()


def seeds_of(row: dict[str, Any]) -> Iterator[bytes]:
    status = STATUSES.index(row["status"]) if row["status"] in STATUSES else 0
    if "response" in row:
        mode = WHOLE if row["status"] < 400 else ERROR
        yield bytes([mode, status]) + json.dumps(row["response"]).encode()
    elif "response_text" in row:
        yield bytes([STREAM, 0]) + row["response_text"].encode()
    elif "response_base64" in row:
        yield bytes([STREAM, 0]) + unframed(base64.b64decode(row["response_base64"]))


def unframed(data: bytes) -> bytes:
    """A binary event stream as lines of text, whose sums `framed` makes anew after any change."""
    from cascadeflow.providers.event_stream import EventStreamParser  # noqa: PLC0415

    lines = []
    for headers, payload in EventStreamParser().feed(data):
        kind = str(headers.get(":event-type") or headers.get(":exception-type"))
        message = str(headers.get(":message-type"))
        lines.append(f"={message} {kind} ".encode() + payload)
    return b"\n".join(lines)


def framed(body: bytes) -> bytes:
    from struct import pack  # noqa: PLC0415
    from zlib import crc32  # noqa: PLC0415

    frames = []
    for line in body.split(b"\n"):
        message, _, rest = line.removeprefix(b"=").partition(b" ")
        kind, _, payload = rest.partition(b" ")
        named = b":event-type" if message == b"event" else b":exception-type"
        headers = b"".join(
            pack("!B", len(name)) + name + pack("!BH", 7, len(value)) + value
            for name, value in ((b":message-type", message[:99]), (named, kind[:99]))
        )
        head = pack("!II", 16 + len(headers) + len(payload), len(headers))
        frame = head + pack("!I", crc32(head)) + headers + payload
        frames.append(frame + pack("!I", crc32(frame)))
    return b"".join(frames)


class Mutator:
    """Changes an input: its JSON as JSON, or its bytes (libFuzzer's own way fails in the wheel)."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)

    def __call__(self, data: bytes, max_size: int, seed: int) -> bytes:
        draw = random.Random(seed)
        head, body = data[:2].ljust(2, b"\0"), data[2:]
        if draw.random() < 0.2:
            head = bytes([draw.randrange(5), draw.randrange(256)])
        changed = self._change_json(body, draw) if draw.random() < 0.75 else None
        if changed is None:
            changed = change_bytes(body, draw)
        return (head + changed)[:max_size]

    def _change_json(self, body: bytes, draw: random.Random) -> bytes | None:
        pieces = re.split(rb"(\n+)", body)
        with_json = [at for at, piece in enumerate(pieces) if b"{" in piece]
        if not with_json:
            return None
        at = draw.choice(with_json)
        start = pieces[at].index(b"{")
        try:
            value = json.loads(pieces[at][start:])
        except (ValueError, RecursionError):
            return None
        if len(with_json) > 1 and draw.random() < 0.2:
            other = draw.choice(with_json)  # events come twice, not at all, or in another order
            pieces[at], pieces[other] = draw.choice(
                [(pieces[other], pieces[at]), (pieces[at], pieces[at]), (b"", pieces[other])]
            )
            return b"".join(pieces)
        try:
            for _ in range(draw.choice((1, 1, 2, 4))):
                value = self._changed(value, draw)
            pieces[at] = pieces[at][:start] + json.dumps(value).encode()
        except RecursionError:
            return None
        return b"".join(pieces)

    def _changed(self, root: Any, draw: random.Random) -> Any:
        nodes = containers(root)
        if not nodes:
            return deepcopy(draw.choice(ODD))
        node = draw.choice(nodes)
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        match draw.randrange(6):
            case 0 | 1:
                node[key] = deepcopy(draw.choice(ODD))
            case 2:
                node[key] = deepcopy(draw.choice(nodes))
            case 3:
                del node[key]
            case 4 if isinstance(node, dict):
                node[draw.choice(self._names)] = deepcopy(node[key])
            case 5 if isinstance(node, dict):
                node[draw.choice(self._names)] = deepcopy(draw.choice(ODD))
            case _:
                node[key] = [node[key], deepcopy(node[key])]
        return root


TOKENS = (
    *(
        b"\xff",
        b"\0",
        b'"',
        b"{",
        b"}",
        b"[" * 3000,
        b"\r\n",
        b"\n\n",
        b"data: ",
        b"data:[DONE]\n\n",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"event: error\n",
        b": \n",
        b"-",
        b"e999",
        b"1" * 5000,
        b"null",
    ),
)


def change_bytes(body: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(body) + 1)
    end = min(len(body), start + draw.choice((0, 1, 1, 4, 30, 400)))
    match draw.randrange(5):
        case 0:
            middle = draw.randbytes(end - start)
        case 1:
            middle = b""
        case 2:
            middle = body[start:end] * 2
        case 3:
            return body[:start]
        case _:
            middle = draw.choice(TOKENS)
    return body[:start] + middle + body[end:]


def containers(value: Any) -> list[Any]:
    """Every object and list that holds something."""
    found, waiting = [], [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (dict, list)) and each:
            found.append(each)
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return found


def names_in(value: Any) -> Iterator[str]:
    for each in containers(value):
        if isinstance(each, dict):
            yield from each


# What is checked


class Checks:
    """Runs one codec on inputs, and raises for whatever must not happen."""

    def __init__(self, name: str) -> None:
        from cascadeflow.providers.codecs import get_codec  # noqa: PLC0415

        self.codec = get_codec(name)

    def __call__(self, data: bytes) -> None:
        if len(data) < 2:
            return
        mode, at, body = data[0] % 5, data[1], data[2:]
        if mode in (STREAM, CUT) and body.startswith(b"="):
            body = framed(body)
        if mode == WHOLE:
            self.whole(200, body)
        elif mode == ERROR:
            self.whole(STATUSES[at % len(STATUSES)], body)
        elif mode == INSTEAD:
            self.instead(body)
        else:
            whole = self.events([body])
            if mode == CUT:
                split = len(body) * at // 256
                assert self.events([body[:split], body[split:]]) == whole, "cut, it says otherwise"

    def whole(self, status: int, body: bytes) -> None:
        from cascadeflow.errors import ProviderError  # noqa: PLC0415

        try:
            answer = self.codec.decode(status, {}, body)
        except ProviderError as error:
            self.check_error(error)
        else:
            self.check(answer)

    def instead(self, body: bytes) -> None:
        """A whole answer where a stream was asked for."""
        from cascadeflow.errors import ProviderError  # noqa: PLC0415

        decoder = self.codec.decoder({"content-type": "application/json"})
        try:
            decoder.feed(body)
            self.check(decoder.finish()[-1].completion)  # type: ignore[union-attr]
        except ProviderError as error:
            self.check_error(error)

    def events(self, chunks: list[bytes]) -> str | None:
        from cascadeflow.errors import ProviderError  # noqa: PLC0415

        events: list[Any] = []
        try:
            events.extend(self.codec.decode_stream(chunks))
            self.check(events[-1].completion)
        except ProviderError as error:
            self.check_error(error)
            events.append((type(error), str(error), error.partial))
            if error.partial is not None:
                self.check(error.partial)
        try:
            return repr(events)
        except RecursionError:
            return None  # what is nested so deeply nobody prints

    def check_error(self, error: Any) -> None:
        assert error.provider == self.codec.name
        assert error.billed in (None, False)
        assert error.status is None or type(error.status) is int
        assert error.code is None or isinstance(error.code, str)
        assert error.request_id is None or isinstance(error.request_id, str)
        str(error)

    def check(self, answer: Any) -> None:
        from cascadeflow.errors import InvalidRequestError  # noqa: PLC0415
        from cascadeflow.models.usage import Usage  # noqa: PLC0415
        from cascadeflow.types import ChatRequest, FinishReason, Message  # noqa: PLC0415

        assert isinstance(answer.text, str)
        assert isinstance(answer.reasoning, str)
        for text in ("refusal", "model", "response_id", "request_id", "service_tier"):
            assert getattr(answer, text) is None or isinstance(getattr(answer, text), str), text
        assert answer.finish_reason in get_args(FinishReason)
        assert answer.raw_finish_reason is None or isinstance(answer.raw_finish_reason, str)
        for call in answer.tool_calls:
            assert all(isinstance(text, str) for text in (call.id, call.name, call.arguments))
        for token in answer.logprobs or ():
            assert isinstance(token.token, str)
            assert isinstance(token.logprob, float)
        counts = [answer.reported_cost]
        if answer.usage is not None:
            assert isinstance(answer.usage, Usage)
            counts += [
                getattr(answer.usage, name) for name in Usage.__slots__ if name != "requests"
            ]
            counts += answer.usage.requests.values()
        assert all(count is None or (type(count) is int and count >= 0) for count in counts)
        back = self.codec.assistant_message(answer)
        messages = (Message("user", "Hi"), back, Message("user", "And?"))
        try:
            self.codec.encode(ChatRequest(model="m", messages=messages, max_tokens=9))
        except InvalidRequestError:
            return  # what came back is not JSON, such as NaN, and is told so


# The fuzzing


def fuzz(name: str, seconds: int, seed: int, folder: Path) -> None:
    """Fuzzes one codec in this process, which ends with it."""
    import atheris  # type: ignore[import-untyped] # noqa: PLC0415 - it patches how modules load

    with atheris.instrument_imports(include=["cascadeflow.providers", "cascadeflow.models.usage"]):
        checks = Checks(name)
    from cascadeflow.providers.registry import get_provider  # noqa: PLC0415

    corpus = folder / f"{name}-corpus"
    corpus.mkdir()
    names = {"type", "text", "error"}
    for number, start in enumerate(seeds(name, get_provider(name).protocol)):
        (corpus / f"seed-{number}").write_bytes(start[:16_384])
        for line in start[2:].split(b"\n"):
            try:
                names.update(names_in(json.loads(line[line.index(b"{") :])))
            except ValueError:
                continue
    found: set[str] = set()

    def one_input(data: bytes) -> None:
        try:
            checks(data)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"
            key = said.partition(": ")[0]
            if key not in found:
                found.add(key)
                file = folder / f"{name}-finding-{len(found)}"
                file.write_bytes(data)
                file.with_suffix(".txt").write_text(f"{said}\n", errors="replace")

    options = [f"-max_total_time={seconds}", "-max_len=16384", "-timeout=20", "-rss_limit_mb=2048"]
    options += [f"-seed={seed}", "-print_final_stats=1", f"-artifact_prefix={folder}/{name}-"]
    command = [sys.argv[0], *options, str(corpus)]
    atheris.Setup(command, one_input, custom_mutator=Mutator(names))
    atheris.Fuzz()


def default_codecs() -> list[str]:
    """One provider of each protocol, and the dialect whose messages have parts of their own."""
    from cascadeflow.providers.registry import get_provider, provider_ids  # noqa: PLC0415

    protocols = {get_provider(name).protocol: name for name in reversed(provider_ids())}
    usual = {protocol: name for name in provider_ids() if (protocol := name) in protocols}
    return sorted({*(protocols | usual).values(), "mistral"})


def run(names: list[str], seconds: int, seed: int, folder: Path) -> int:
    """Fuzzes each codec for its share of the time, and says what was found."""
    status = 0
    for name in names:
        share = max(1, seconds // len(names))
        command = [sys.executable, str(HERE), "--child", str(folder)]
        command += ["--codec", name, "--seconds", str(share), "--seed", str(seed)]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        units = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        covered = re.findall(r"cov: (\d+)", done.stderr)
        findings = sorted(folder.glob(f"{name}-finding-*.txt"))
        if done.returncode or units is None or int(units[1]) == 0:
            status = FOUND  # too slow, too large, or it fell over
            say(f"{name}: ended with status {done.returncode}\n{done.stderr[-2000:]}")
        else:
            reached = f", {covered[-1]} edges" if covered else ""
            say(f"{name}: {units[1]} inputs in {share} s{reached}, {len(findings)} findings")
        for file in findings:
            status = FOUND
            say(f"  {file.read_text().strip()[:300]}\n    --reproduce {file.with_suffix('')}")
    return status


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for all codecs together")
    parser.add_argument("--codec", action="append", help="a provider's id; may be given repeatedly")
    parser.add_argument("--seed", type=int, default=0, help="of the changes; 0 draws one")
    parser.add_argument("--reproduce", type=Path, help="runs one input, and raises what it raises")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    names = asked.codec or default_codecs()
    if asked.reproduce:
        Checks(names[0])(asked.reproduce.read_bytes())
        return 0
    try:
        import atheris  # noqa: F401, PLC0415
    except ImportError:
        say("atheris is not installed: it has wheels for Linux and macOS, CPython 3.11 to 3.13")
        return NO_WHEEL
    if asked.child:
        fuzz(names[0], asked.seconds, asked.seed, asked.child)
    return run(names, asked.seconds, asked.seed, Path(tempfile.mkdtemp(prefix="fuzz-codecs-")))


if __name__ == "__main__":
    sys.exit(main())
