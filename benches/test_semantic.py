"""What the sentence model takes: a vector, many at once, and being opened."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.models.embedding_files import GRAPH, WEIGHTS_NAME, find_sentence_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from cascadeflow.models.embedding_files import SentenceFiles

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # the reference imports onnxruntime

TASKS = 64
WORDS = [
    *("what", "does", "a", "teacher", "earn", "who", "sells", "nine", "books", "a", "day", "at"),
    *("two", "dollars", "each", "and", "gives", "the", "rest", "to", "the", "school", "while"),
    *("her", "costs", "stay", "as", "they", "are", "in", "every", "month", "of", "the", "year"),
]
FOLDER = "session.model_external_initializers_file_folder_path"


def text_of(tokens: int, first: int = 0) -> str:
    """A text of so many tokens, the two special ones included: each word is one."""
    return " ".join(WORDS[(first + at) % len(WORDS)] for at in range(tokens - 2))


QUESTIONS = [text_of(8 + number % 25, number) for number in range(256)]
"""What is asked at once: 8 to 32 tokens."""


@pytest.fixture(scope="module")
def files() -> SentenceFiles:
    try:
        return find_sentence_files()[0]
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


class Reference:
    """onnxruntime's own Python session over the same files, with tokenizers and numpy."""

    def __init__(self, files: SentenceFiles, threads: int) -> None:
        import numpy  # noqa: PLC0415
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415

        self.numpy = numpy
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        weights = files.external_data[WEIGHTS_NAME].resolve()
        options.add_session_config_entry(FOLDER, str(weights.parent))
        self.session = onnxruntime.InferenceSession(
            GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self.tokenizer = Tokenizer.from_file(str(files.tokenizer))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)

    def embed(self, text: str) -> Any:
        encoding = self.tokenizer.encode(text)
        feeds = {
            "input_ids": [encoding.ids],
            "attention_mask": [encoding.attention_mask],
            "token_type_ids": [encoding.type_ids],
        }
        arrays = {name: self.numpy.array(values) for name, values in feeds.items()}
        mean = self.session.run(None, arrays)[0][0].mean(axis=0)
        return mean / self.numpy.linalg.norm(mean)


def name(tokens: int, threads: int) -> str:
    return f"sentence vector, {tokens} tokens, {threads} thread{'s' * (threads > 1)}"


CASES = [(32, 2), (128, 2), (32, 1), (128, 1)]
PROMISED = {
    (32, 2): {"gate_s": 50e-3, "goal_s": 5e-3},
    (128, 2): {"gate_s": 50e-3, "goal_s": 17e-3},
}
"""Seconds, by tokens and threads."""


@pytest.mark.parametrize(("tokens", "threads"), CASES)
def test_vector(benchmark: Any, files: SentenceFiles, tokens: int, threads: int) -> None:
    benchmark.extra_info |= {"figure": name(tokens, threads), "role": "figure"}
    benchmark.extra_info |= PROMISED.get((tokens, threads), {})
    model = SentenceModel.find(files.external_data[WEIGHTS_NAME], threads=threads)
    assert len(benchmark(model.embed, [text_of(tokens)])) == 1


@pytest.mark.parametrize(("tokens", "threads"), CASES)
def test_vector_reference(benchmark: Any, files: SentenceFiles, tokens: int, threads: int) -> None:
    benchmark.extra_info |= {
        "figure": name(tokens, threads), "role": "reference", "reference": "onnxruntime in Python",
    }  # fmt: skip
    reference = Reference(files, threads)
    text = text_of(tokens)
    assert len(reference.tokenizer.encode(text).ids) == tokens
    assert benchmark(reference.embed, text).shape == (384,)


PAUSE = 1e-3


async def ask_all(ask: Callable[[str], Awaitable[Any]]) -> tuple[float, float]:
    """Seconds a question with 64 tasks at once, and the longest that the loop stood still."""
    left, stood = iter(QUESTIONS), [0.0]

    async def one() -> None:
        for question in left:
            await ask(question)

    async def watch() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(PAUSE)
            stood[0] = max(stood[0], time.perf_counter() - begun - PAUSE)

    begun = time.perf_counter()
    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(one() for _ in range(TASKS)))
    took = time.perf_counter() - begun
    watcher.cancel()
    return took / len(QUESTIONS), stood[0]


def fastest(benchmark: Any, ask: Callable[[str], Awaitable[Any]], rounds: int = 3) -> None:
    """Notes the best of three rounds, and shows the longest stall of it."""
    taken = []
    benchmark.pedantic(lambda: taken.append(asyncio.run(ask_all(ask))), rounds=rounds)
    took, stood = min(taken)
    benchmark.extra_info |= {"value_s": took, "stood_s": stood}


AT_ONCE = "sentence vector, 64 tasks at once, 8 to 32 tokens, time a vector"


def test_at_once(benchmark: Any, files: SentenceFiles) -> None:
    benchmark.extra_info |= {"figure": AT_ONCE, "role": "figure"}
    model = SentenceModel.find(files.external_data[WEIGHTS_NAME], threads=2)
    model.warm()
    fastest(benchmark, lambda question: model.vectors([question]))


def test_at_once_reference(benchmark: Any, files: SentenceFiles) -> None:
    benchmark.extra_info |= {
        "figure": AT_ONCE, "role": "reference", "reference": "one by one, on threads",
    }  # fmt: skip
    model = SentenceModel.find(files.external_data[WEIGHTS_NAME], threads=2)
    model.warm()
    fastest(benchmark, lambda question: asyncio.to_thread(model.embed, [question]))


OPENED = "sentence model, found and opened in a new process"
OPENING = """
import sys, time
sys.path.insert(0, {benches!r})
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.models.embedding_files import find_sentence_files
begun = time.perf_counter()
{opens}
print(time.perf_counter() - begun)
with open("/proc/self/status") as status:
    print(*(line.split()[1] for line in status if line.startswith("VmRSS")))
"""


def open_anew(benchmark: Any, opens: str) -> None:
    """Opens in new processes; what importing this package takes is not counted."""
    code = OPENING.format(benches=str(Path(__file__).parent), opens=opens)
    taken = []

    def once() -> None:
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        taken.append(tuple(map(float, done.stdout.split())))

    benchmark.pedantic(once, rounds=3)
    seconds, kilobytes = min(taken)
    benchmark.extra_info |= {"value_s": seconds, "resident_mb": kilobytes / 1024}


def test_open(benchmark: Any, files: SentenceFiles) -> None:
    assert files
    benchmark.extra_info |= {"figure": OPENED, "role": "figure"}
    open_anew(benchmark, "SentenceModel.find(threads=2).warm()")


def test_open_reference(benchmark: Any, files: SentenceFiles) -> None:
    assert files
    benchmark.extra_info |= {
        "figure": OPENED, "role": "reference", "reference": "onnxruntime in Python",
    }  # fmt: skip
    open_anew(
        benchmark, "from test_semantic import Reference; Reference(find_sentence_files()[0], 2)"
    )


@pytest.fixture(scope="module")
def eight_bits(
    files: SentenceFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SentenceModel]:
    """The model in eight bits, made outside the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(variable, str(tmp_path_factory.mktemp("cache")))
        model = SentenceModel.find(files.external_data[WEIGHTS_NAME], variant="int8", threads=2)
        model.warm()
        yield model


@pytest.mark.parametrize(("tokens", "goal"), [(32, 2.5e-3), (128, 8e-3)])
def test_vector_in_eight_bits(
    benchmark: Any, eight_bits: SentenceModel, tokens: int, goal: float
) -> None:
    benchmark.extra_info |= {
        "figure": f"{name(tokens, 2)}, int8", "role": "figure", "goal_s": goal,
    }  # fmt: skip
    assert len(benchmark(eight_bits.embed, [text_of(tokens)])) == 1


@pytest.mark.parametrize("tokens", [32, 128])
def test_vector_in_eight_bits_reference(benchmark: Any, files: SentenceFiles, tokens: int) -> None:
    benchmark.extra_info |= {
        "figure": f"{name(tokens, 2)}, int8", "role": "reference", "reference": "fp32",
    }  # fmt: skip
    model = SentenceModel.find(files.external_data[WEIGHTS_NAME], threads=2)
    assert len(benchmark(model.embed, [text_of(tokens)])) == 1
