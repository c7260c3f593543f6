"""A `tokenizer.json` gives the tokens that Hugging Face's own library gives."""

from __future__ import annotations

import json
import os
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from cascadeflow import _native
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.tokens import count_request, count_text, load_tokenizer
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from pathlib import Path

CORPUS = list(topics.values())[:20]
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level() -> Tokenizer:
    """As GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.ByteLevel()
    return tokenizer


def split_bytes() -> Tokenizer:
    """As Llama 3's: a pattern, then bytes; special tokens around a text."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", 0)]
    )
    return tokenizer


def word_piece() -> Tokenizer:
    """As BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def unigram() -> Tokenizer:
    """As T5's: pieces by likelihood, a mark for each space, a rule that rewrites."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Replace("''", '"'),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


MAKERS = [byte_level, split_bytes, word_piece, unigram]


@pytest.fixture(scope="module", params=MAKERS, ids=lambda make: make.__name__)
def theirs(request: pytest.FixtureRequest) -> Tokenizer:
    tokenizer = request.param()
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding(length=64)
    # As read from a file: some likelihoods lose their last bit on the way.
    return Tokenizer.from_str(tokenizer.to_str())


@pytest.fixture(scope="module")
def ours(theirs: Tokenizer) -> _native.Tokenizer:
    tokenizer = _native.Tokenizer(theirs.to_str().encode())
    theirs.no_truncation()
    theirs.no_padding()
    return tokenizer


def assert_same(ours: _native.Tokenizer, theirs: Tokenizer, text: str) -> None:
    expected = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text) == expected
    assert ours.count(text) == len(expected)


@given(text=st.text(max_size=200))
def test_any_text(text: str, ours: _native.Tokenizer, theirs: Tokenizer) -> None:
    assert_same(ours, theirs, text)


def test_natural_and_odd_texts(ours: _native.Tokenizer, theirs: Tokenizer) -> None:
    odd = ["", " ", "  a\n\n b ", "''x''", "ﬁ½²", "<|endoftext|> <s>[CLS]<|end|>", "a" * 3000, "\0"]
    for text in [*CORPUS, *odd]:
        assert_same(ours, theirs, text)


def write(tmp_path: Path, tokenizer: Tokenizer) -> str:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def test_a_model_may_name_its_tokenizer_file(tmp_path: Path) -> None:
    theirs = byte_level()
    model = ModelConfig("mine", "vllm", tokenizer=write(tmp_path, theirs))
    text = "The quick brown fox"
    expected = len(theirs.encode(text, add_special_tokens=False).ids)
    count = count_text(text, model=model)
    assert (count.tokens, count.upper_bound, count.exact) == (expected, expected, True)
    assert count.method == "tokenizer.json"
    # Around the text stands the server's template, which the file does not tell.
    request = ChatRequest("mine", (Message("user", text),))
    whole = count_request(request, model)
    assert not whole.exact
    assert whole.method == "tokenizer.json"
    assert whole.tokens >= expected
    assert whole.upper_bound is not None
    assert whole.upper_bound >= whole.tokens


def test_the_name_of_a_special_token_is_bounded_by_its_bytes(tmp_path: Path) -> None:
    theirs = byte_level()
    theirs.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    model = ModelConfig("mine", "vllm", tokenizer=write(tmp_path, theirs))
    text = "<|im_end|>" * 50
    count = count_text(text, model=model)
    assert count.tokens < len(text)
    assert count.upper_bound == len(text)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, byte_level())
    first = load_tokenizer(path)
    assert load_tokenizer(path) is first
    write(tmp_path, word_piece())
    os.utime(path, ns=(1, 1))
    assert load_tokenizer(path) is not first


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_tokenizer(tmp_path / "nowhere.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"broken\.json"):
        load_tokenizer(broken)
    with pytest.raises(ConfigurationError):
        load_tokenizer(tmp_path)


def test_a_pattern_that_gives_up_is_an_error_that_says_so(tmp_path: Path) -> None:
    file: dict[str, Any] = json.loads(byte_level().to_str())
    file["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(?:(?:a(?=.))+)+c"},
        "behavior": "Isolated",
        "invert": False,
    }
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    model = ModelConfig("mine", "vllm", tokenizer=str(path))
    with pytest.raises(InvalidRequestError, match="acktrack"):
        count_text("a" * 40, model=model)
