"""The page on providers says what the registry says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import price_of
from cascadeflow.providers.dialects import BUILT_IN
from cascadeflow.providers.registry import Provider, Quirks

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "providers.md"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_providers", DOCS / "generate_providers.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(name: str) -> dict[str, list[str]]:
    """The rows of a table on the page, by their first cell; read here by hand."""
    page = PAGE.read_text(encoding="utf-8")
    table = page.split(f"<!-- {name}: ")[1].split(f"<!-- /{name} -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {first: rest for first, *rest in cells}


def test_the_page_is_up_to_date(generator: ModuleType) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert generator.render(page) == page, "run python docs/generate_providers.py"


def test_the_command_says_by_its_status_whether_it_is(tmp_path: Path) -> None:
    for name in ("generate_providers.py", "providers.md"):
        (tmp_path / name).write_text((DOCS / name).read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, str(tmp_path / "generate_providers.py")]
    copy = tmp_path / "providers.md"
    whole = copy.read_text(encoding="utf-8")
    copy.write_text(whole.replace("api.groq.com", "api.groq.example"), encoding="utf-8")
    assert subprocess.run([*command, "--check"], check=False, capture_output=True).returncode == 1
    subprocess.run(command, check=True)
    assert copy.read_text(encoding="utf-8") == whole
    subprocess.run([*command, "--check"], check=True)


def test_a_page_without_its_markers_is_told_so(generator: ModuleType) -> None:
    with pytest.raises(ValueError, match="providers"):
        generator.render("# Providers")


def test_every_provider_has_its_row_and_no_other_has() -> None:
    ids = sorted(provider.id for provider in BUILT_IN)
    assert list(rows("providers")) == [f"`{each}`" for each in ids]


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda each: each.id)
def test_a_row_s_facts_equal_the_registry_s(provider: Provider) -> None:
    protocol, address, key, quirks = rows("providers")[f"`{provider.id}`"]
    assert protocol == provider.protocol
    urls = [url.replace("\\|", "|") for url in re.findall(r"`([^`]+)`", address)]
    assert urls == [provider.base_url, *provider.env_urls]
    named = [name for name in re.findall(r"`([^`]+)`", key) if name.isupper()]
    assert named == list(provider.key_env)
    assert ("none needed" in key) == provider.local
    assert ("AWS credentials" in key) == (provider.signer == "aws-sigv4")
    assert ("Google's" in key) == (provider.signer == "google-oauth")
    assert (f"(as `{provider.auth}`)" in key) == (provider.auth != "bearer")
    said = [part for part in quirks.split("; ") if part]
    usual = Quirks()
    departs = [
        each.name
        for each in fields(Quirks)
        if getattr(provider.quirks, each.name) != getattr(usual, each.name)
    ]
    assert len(said) == len(departs)
    for value in provider.quirks.refuses:
        assert f"`{value}`" in quirks
    for value in (provider.quirks.reasoning_back, provider.quirks.default_max_tokens):
        assert value is None or str(value) in quirks


@pytest.mark.parametrize("name", [each.name for each in fields(Quirks)])
def test_every_quirk_can_be_said_in_words(generator: ModuleType, name: str) -> None:
    other = {
        "max_tokens_field": "max_completion_tokens",
        "developer_role": True,
        "required_choice": "any",
        "names_tools": False,
        "seed_field": "random_seed",
        "logprobs_as_count": True,
        "documents": "document_url",
        "refuses": frozenset({"user"}),
        "reasoning_back": "reasoning",
        "call_id_length": 9,
        "default_max_tokens": 5,
    }
    odd = Provider(id="odd", quirks=replace(Quirks(), **{name: other[name]}))
    (words,) = generator.quirks_in_words(odd)
    assert words


def test_the_table_of_fields_has_what_the_codecs_send() -> None:
    """A few cells, written down a second time."""
    table = rows("fields")
    limits = table["`max_tokens`"]
    assert [cell.strip("`") for cell in limits] == [
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "generationConfig.maxOutputTokens",
        "generationConfig.maxOutputTokens",
        "inferenceConfig.maxTokens",
        "max_tokens",
    ]
    assert table["`seed`"][2] == table["`logprobs`"][2] == "not sent"  # Anthropic has neither
    assert table["PDF, inline"][6] == "error"  # Cohere takes text
    assert table["`top_p`"][6] == "`p`"


def test_what_the_page_says_of_prices_is_so() -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    served = ModelConfig("zai-org/GLM-4.7:novita", "huggingface")
    assert price_of(served, at=at) is not None
    assert price_of(ModelConfig("zai-org/GLM-4.7", "huggingface"), at=at) is None
    for provider in ("crusoe", "snowflake"):
        assert price_of(ModelConfig("llama3.3-70b", provider), at=at) is None
