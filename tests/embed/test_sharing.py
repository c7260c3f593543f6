"""One model serves many threads, lets Python run meanwhile, and survives a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cascadeflow._native import SentenceEmbedder, TextClassifier

TEXTS = ["the cat", "who pays for tokens?", "a mat " * 10, "sat"] * 4


@pytest.fixture
def model(writer: Any, tmp_path: Path) -> Path:
    path: Path = writer.Graph().hidden_as().logits_as(3).save(tmp_path / "model.onnx")
    return path


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(("sessions", "threads"), [(1, 1), (3, 1), (2, 2)])
def test_many_threads_at_once_get_what_one_gets(
    model: Path, tokenizer: Path, sessions: int, threads: int
) -> None:
    held: dict[str, Any] = {"sessions": sessions, "threads": threads, "max_tokens": 32}
    embedder = SentenceEmbedder(model, tokenizer, **held)
    classifier = TextClassifier(model, tokenizer, activation="softmax", **held)
    vectors = [embedder.embed([text]).tobytes() for text in TEXTS]
    labels = [classifier.classify([text]) for text in TEXTS]

    def ask(number: int) -> bool:
        at = number % len(TEXTS)
        if number % 3 == 0:
            return classifier.classify([TEXTS[at]]) == [labels[at][0]]
        return embedder.embed([TEXTS[at]]).tobytes() == vectors[at]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(1_000)))


@pytest.mark.usefixtures("runtime")
def test_python_runs_on_while_a_model_works(model: Path, tokenizer: Path) -> None:
    embedder = SentenceEmbedder(model, tokenizer, max_tokens=32)
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0)

    # So long that no thread loses the interpreter but by giving it up.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        ticker = threading.Thread(target=tick)
        ticker.start()
        during = 0
        for _ in range(100):
            before = ticks
            embedder.embed(TEXTS * 20)
            during += ticks - before
            if during:
                break
        stop.set()
        ticker.join()
    finally:
        sys.setswitchinterval(interval)
    assert during > 0


PRELUDE = """
import os, sys
from cascadeflow._native import SentenceEmbedder, load_onnx_runtime
library, model, tokenizer = sys.argv[1:]
load_onnx_runtime(library)
"""


def python(code: str, *arguments: object) -> str:
    """What a new interpreter, and what it forks, print."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

CHILDREN = """
def in_child(work):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        # Out by the ordinary way: what the parent made is dropped here too.
        try:
            work()
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@needs_fork
@pytest.mark.parametrize("threads", [1, 3])
def test_a_forked_child_works_with_sessions_of_its_own(
    library: Path, model: Path, tokenizer: Path, threads: int
) -> None:
    code = (
        CHILDREN
        + f"""
embedder = SentenceEmbedder(model, tokenizer, max_tokens=32, threads={threads}, sessions=2)
texts = ["the cat", "who pays for tokens?"]
before = embedder.embed(texts).tobytes()

def work():
    assert embedder.embed(texts).tobytes() == before
    in_child(lambda: print("grandchild", embedder.embed(texts).tobytes() == before))
    print("child", embedder.embed(texts).tobytes() == before)

in_child(work)
in_child(lambda: print("idle child"))
print("parent", embedder.embed(texts).tobytes() == before)
"""
    )
    lines = ["grandchild True", "child True", "idle child", "parent True"]
    assert python(code, library, model, tokenizer).splitlines() == lines


@needs_fork
def test_a_child_forked_while_every_session_is_busy_does_not_wait_for_them(
    library: Path, model: Path, tokenizer: Path
) -> None:
    code = (
        CHILDREN
        + """
import threading
embedder = SentenceEmbedder(model, tokenizer, max_tokens=32)
before = embedder.embed(["the cat"]).tobytes()
stop = threading.Event()

def busy():
    while not stop.is_set():
        embedder.embed(["the cat sat on a mat"] * 200)

workers = [threading.Thread(target=busy) for _ in range(3)]
for worker in workers:
    worker.start()
for _ in range(20):
    in_child(lambda: print(embedder.embed(["the cat"]).tobytes() == before))
stop.set()
for worker in workers:
    worker.join()
"""
    )
    assert python(code, library, model, tokenizer) == "True\n" * 20


@needs_fork
def test_a_child_refuses_a_model_that_has_changed_since(
    library: Path, model: Path, tokenizer: Path
) -> None:
    code = (
        CHILDREN
        + """
embedder = SentenceEmbedder(model, tokenizer, max_tokens=32)
with open(model, "ab") as file:
    file.write(b"more")
in_child(lambda: embedder.embed(["the cat"]))
print(len(embedder.embed(["the cat"])))
"""
    )
    child, parent = python(code, library, model, tokenizer).splitlines()
    assert child.startswith("ConfigurationError: the model")
    assert "changed" in child
    assert parent == "1"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_as_many_sessions_and_threads_are_made_as_were_asked_for(
    library: Path, model: Path, tokenizer: Path
) -> None:
    code = """
def tasks():
    return len(os.listdir("/proc/self/task"))

before = tasks()
one = SentenceEmbedder(model, tokenizer, max_tokens=32)
assert tasks() == before
many = SentenceEmbedder(model, tokenizer, max_tokens=32, sessions=3, threads=4)
print(tasks() - before)
"""
    # Three sessions with three threads each beside the caller's.
    assert python(code, library, model, tokenizer) == "9\n"
