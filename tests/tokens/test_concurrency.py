"""Counting in threads and after a fork, and what long texts mean for other threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascadeflow import _native
from cascadeflow.models.tokens import load_vocabulary


def test_threads_that_come_first_at_once_all_get_the_right_vocabulary() -> None:
    script = """
import json, threading
from concurrent.futures import ThreadPoolExecutor
from cascadeflow.models.tokens import count_text
barrier = threading.Barrier(8)
def count(number):
    barrier.wait()
    return count_text("Hello, world! " * number, model="openai:gpt-4o").tokens
with ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(count, range(1, 9)))))
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    expected = [load_vocabulary("o200k_base").count("Hello, world! " * n) for n in range(1, 9)]
    assert json.loads(output) == expected


def test_threads_share_a_vocabulary() -> None:
    texts = [f"number {n}: " + "words and more words " * n for n in range(200)]
    vocabulary = load_vocabulary("o200k_base")
    one_by_one = [vocabulary.count(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(vocabulary.count, texts)) == one_by_one


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("before", ["", "count_text('warm', model='openai:gpt-4o')"])
def test_a_forked_child_counts(before: str) -> None:
    script = f"""
import os, sys
from cascadeflow.models.tokens import count_text
{before}
child = os.fork()
if child == 0:
    os._exit(count_text("Hello, world!", model="openai:gpt-4o").tokens)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 4


@pytest.mark.parametrize("kind", ["vocabulary", "tokenizer"])
def test_a_long_text_is_counted_without_the_interpreters_lock(kind: str) -> None:
    file = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}}
    file["pre_tokenizer"] = {"type": "Whitespace"}
    counter: _native.Vocabulary | _native.Tokenizer = (
        load_vocabulary("o200k_base")
        if kind == "vocabulary"
        else _native.Tokenizer(json.dumps(file).encode())
    )
    text = ("=" if kind == "vocabulary" else "a ") * 2_000_000
    text.encode()
    started, finished = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        counter.count(text)
        finished.set()

    usual = sys.getswitchinterval()
    # No thread is made to give the lock up, so that this one runs on only once it is given freely.
    sys.setswitchinterval(1000)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        assert not finished.is_set()
    finally:
        sys.setswitchinterval(usual)
        thread.join()
    assert finished.is_set()
