"""The coverage-guided fuzzer runs, for a short while here; `fuzz_codecs.py --seconds` goes on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.models.completion import Completed, Completion
from cascadeflow.types import Message

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

COMMAND = Path(__file__).with_name("fuzz_codecs.py")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_codecs", COMMAND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    return load()


@pytest.mark.parametrize("name", load().default_codecs())
def test_a_short_run_finds_nothing(recordings: Path, fuzzer: ModuleType, name: str) -> None:
    del recordings  # the seeds: without them there is little to change
    command = [sys.executable, str(COMMAND), "--codec", name, "--seconds", "1", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode == fuzzer.NO_WHEEL:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{name}: ")


def test_every_protocol_is_fuzzed_from_recorded_exchanges(
    recordings: Path, fuzzer: ModuleType
) -> None:
    from cascadeflow.providers import get_provider, provider_ids  # noqa: PLC0415

    del recordings
    names = fuzzer.default_codecs()
    protocols = {get_provider(name).protocol for name in names}
    assert protocols == {get_provider(name).protocol for name in provider_ids()}
    for name in names:
        checks = fuzzer.Checks(name)
        seeds = list(fuzzer.seeds(name, get_provider(name).protocol))
        assert {seed[0] for seed in seeds} & {fuzzer.WHOLE, fuzzer.STREAM}
        for seed in seeds:
            checks(seed)


class Broken:
    """A codec that does what none may."""

    name = "openai"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def decode(self, *_: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def decode_stream(self, chunks: Iterable[bytes]) -> Any:
        return [Completed(Completion(text=f"{len(list(chunks))} pieces"))]

    def assistant_message(self, _: Any) -> Message:
        return Message("assistant", "")

    def encode(self, _: Any) -> None:
        raise KeyError("content")


@pytest.mark.parametrize(
    "answer",
    [
        KeyError("choices"),
        Completion(text=None),  # type: ignore[arg-type]
        Completion(finish_reason="bored"),  # type: ignore[arg-type]
        Completion(model=7),  # type: ignore[arg-type]
        Completion(reported_cost=-1),
        Completion(),  # which cannot go back
    ],
)
def test_whatever_must_not_happen_is_a_finding(fuzzer: ModuleType, answer: Any) -> None:
    checks = fuzzer.Checks("openai")
    checks.codec = Broken(answer)
    with pytest.raises((AssertionError, KeyError)):
        checks(bytes([fuzzer.WHOLE, 0]) + b"{}")


def test_a_stream_that_depends_on_where_it_is_cut_is_a_finding(fuzzer: ModuleType) -> None:
    checks = fuzzer.Checks("openai")
    checks.codec = Broken(None)
    checks.check = lambda _: None
    checks(bytes([fuzzer.STREAM, 0]) + b"data: 1")
    with pytest.raises(AssertionError, match="cut"):
        checks(bytes([fuzzer.CUT, 99]) + b"data: 1")


def test_a_binary_stream_that_was_taken_apart_is_put_together_again(fuzzer: ModuleType) -> None:
    lines = b'=event messageStart {"role":"assistant"}\n=event messageStop {}'
    assert fuzzer.unframed(fuzzer.framed(lines)) == lines


def test_changes_are_made_alike_by_the_same_seed_and_keep_within_the_limit(
    fuzzer: ModuleType,
) -> None:
    mutator = fuzzer.Mutator({"a", "b"})
    data = b'\0\0{"a":[1,{"b":"c"}]}\n\n{"x":2}'
    made = [mutator(data, 64, seed) for seed in range(300)]
    assert made == [mutator(data, 64, seed) for seed in range(300)]
    assert len(set(made)) > 200
    assert max(map(len, made)) <= 64
