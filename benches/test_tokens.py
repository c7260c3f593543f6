"""Token counting beside tiktoken, in the same run and on the same texts.

DESIGN's goal is a fifth of tiktoken's time for 1 KB (a ratio of 0.2), and linear growth to 1 MB.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import os
import re
import statistics
import subprocess
import sys
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, Any

import pytest
import tiktoken
from tiktoken_ext import openai_public

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.tokens import count_request, load_vocabulary
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENGLISH = "\n\n".join(topics[name] for name in sorted(topics))
JAPANESE = "漢字かな交じり文の例です。これは長い文章で、日本語のテキストを数えるためのものです。"
TEXTS = {
    "1 KB": ENGLISH[5000:6024],
    "100 KB": ENGLISH[:100_000],
    "1 MB": (ENGLISH * 3)[:1_000_000],
    "1 KB of Japanese": (JAPANESE * 10)[:341],
    "100 KB of one letter": "a" * 100_000,
    "100 KB of spaces": " " * 100_000 + "x",
    "100 KB of one sign": "=" * 100_000,
}
NAME = "o200k_base"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiktoken's vocabulary file, rebuilt from ours; its own hash is checked."""
    source = inspect.getsource(openai_public.o200k_base)
    address, sha256 = re.findall(r'"(https://[^"]+|[0-9a-f]{64})"', source)[:2]
    tokens = enumerate(load_vocabulary(NAME).tokens())
    file = b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in tokens)
    assert hashlib.sha256(file).hexdigest() == sha256
    folder = tmp_path_factory.mktemp("tiktoken")
    (folder / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()).write_bytes(file)
    return folder


@pytest.fixture(scope="module")
def encoding(cache: Path) -> tiktoken.Encoding:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return tiktoken.get_encoding(NAME)


def note(benchmark: Any, figure: str, reference: str | None = None, **limits: float | None) -> None:
    role = "figure" if reference is None else "reference"
    benchmark.extra_info.update(figure=f"token count, {figure}", role=role, **limits)
    if reference is not None:
        benchmark.extra_info["reference"] = reference


@pytest.mark.parametrize("name", TEXTS)
def test_count(benchmark: Any, name: str, encoding: tiktoken.Encoding) -> None:
    count = load_vocabulary(NAME).count
    found = benchmark(count, TEXTS[name])
    assert found == len(encoding.encode_ordinary(TEXTS[name]))
    note(benchmark, name, gate_s=0.001 if name == "1 KB" else None, goal_s=None)


@pytest.mark.parametrize("name", TEXTS)
def test_count_reference(benchmark: Any, name: str, encoding: tiktoken.Encoding) -> None:
    benchmark(encoding.encode_ordinary, TEXTS[name])
    note(benchmark, name, "tiktoken")


@pytest.mark.parametrize("name", ["one letter", "spaces", "one sign"])
@pytest.mark.parametrize("size", [1_000_000, 100_000])
def test_linear(benchmark: Any, name: str, size: int) -> None:
    """1 MB takes ten times as long as 100 KB: the ratio stays near 1."""
    text = TEXTS[f"100 KB of {name}"][0] * size
    benchmark.pedantic(load_vocabulary(NAME).count, (text,), rounds=5, warmup_rounds=1)
    if size == 1_000_000:
        note(benchmark, f"1 MB of {name}", gate_s=None, goal_s=None)
    else:
        note(benchmark, f"1 MB of {name}", "ten times 100 KB")
        benchmark.extra_info["value_s"] = 10 * benchmark.stats.stats.median


def first_use(script: str, **environment: str) -> float:
    """Seconds that a fresh process takes for the first count, imports left out."""
    timed = f"""
import json, time
{script}
print(json.dumps(end - start))
"""
    times = []
    for _ in range(7):
        output = subprocess.run(
            [sys.executable, "-c", timed],
            capture_output=True,
            check=True,
            env={**os.environ, **environment},
        ).stdout
        times.append(float(json.loads(output)))
    return statistics.median(times)


def measured(benchmark: Any, measure: Callable[[], float]) -> None:
    seconds = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info["value_s"] = seconds


def test_first_use(benchmark: Any) -> None:
    script = """
from cascadeflow import _native
start = time.perf_counter()
_native.Vocabulary("o200k_base").count("Hello, world!")
end = time.perf_counter()
"""
    measured(benchmark, lambda: first_use(script))
    note(benchmark, "first use", gate_s=0.020, goal_s=None)


def test_first_use_reference(benchmark: Any, cache: Path) -> None:
    script = """
import tiktoken
start = time.perf_counter()
tiktoken.get_encoding("o200k_base").encode_ordinary("Hello, world!")
end = time.perf_counter()
"""
    measured(benchmark, lambda: first_use(script, TIKTOKEN_CACHE_DIR=str(cache)))
    note(benchmark, "first use", "tiktoken, its file on disk")


def chat() -> list[tuple[str, str]]:
    text = TEXTS["1 KB"]
    return [("system", text[:200]), ("user", text[200:600]), ("user", text[600:])]


def test_request(benchmark: Any) -> None:
    messages = tuple(Message(role, text) for role, text in chat())  # type: ignore[arg-type]
    request, model = ChatRequest("gpt-4o", messages), ModelConfig("gpt-4o", "openai")
    benchmark(count_request, request, model)
    note(benchmark, "chat of 1 KB", gate_s=0.001, goal_s=None)


def test_request_reference(benchmark: Any, encoding: tiktoken.Encoding) -> None:
    def cookbook() -> int:
        return 3 + sum(
            3 + len(encoding.encode_ordinary(role)) + len(encoding.encode_ordinary(text))
            for role, text in chat()
        )

    benchmark(cookbook)
    note(benchmark, "chat of 1 KB", "tiktoken, OpenAI's formula")
