"""The same answers by other means: onnxruntime's own Python, Hugging Face tokenizers, numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Array = np.ndarray[Any, Any]


def run(
    model: Path,
    tokenizer: Path,
    texts: Sequence[str | tuple[str, str]],
    *,
    output: str,
    max_tokens: int = 32,
) -> tuple[Array, Array]:
    """The output for all texts in one padded batch, and its mask."""
    reader = Tokenizer.from_file(str(tokenizer))
    reader.enable_truncation(max_tokens)
    reader.enable_padding()
    encodings = reader.encode_batch(list(texts))
    feeds = {
        "input_ids": np.array([encoding.ids for encoding in encodings]),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
        "token_type_ids": np.array([encoding.type_ids for encoding in encodings]),
    }
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    taken = {port.name: feeds[port.name] for port in session.get_inputs()}
    return np.asarray(session.run([output], taken)[0]), feeds["attention_mask"]


def unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def mean_embeddings(
    model: Path,
    tokenizer: Path,
    texts: Sequence[str],
    *,
    output: str = "last_hidden_state",
    max_tokens: int = 32,
) -> Array:
    """Masked mean over the tokens, scaled to length one: sentence-transformers' default."""
    hidden, mask = run(model, tokenizer, texts, output=output, max_tokens=max_tokens)
    weights = mask[:, :, None].astype(np.float64)
    return unit((hidden * weights).sum(axis=1) / weights.sum(axis=1))


def softmax(logits: Array) -> Array:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
