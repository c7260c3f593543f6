from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.models.test_text_classifier import load, written

from cascadeflow.quality import TextJudgement, judge_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Judged:
    """A judgement whose checks are found by name."""

    def __init__(self, judgement: TextJudgement) -> None:
        self.judgement = judgement
        self.by_name = {check.name: check for check in judgement.checks}

    @property
    def failed(self) -> set[str]:
        return {name for name, check in self.by_name.items() if check.verdict == "failed"}

    def verdict(self, name: str) -> str:
        return self.by_name[name].verdict

    def reason(self, name: str) -> str:
        return self.by_name[name].reason


@pytest.fixture(scope="session")
def judge() -> Callable[..., Judged]:
    def run(question: str, answer: str, **options: Any) -> Judged:
        return Judged(judge_text(question, answer, **options))

    return run


@pytest.fixture
def classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a tiny classifier of texts, with these labels, that a user may have brought."""
    monkeypatch.setattr(load("onnx_writer"), "POSITIONS", 256)  # as many as are read of a text

    def write(*labels: str, folder: Path = tmp_path / "own") -> Path:
        return written(folder, labels=labels)

    return write
