"""What the pages and examples show really runs, unchanged, against the simulated provider."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import runpy
import threading
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import BatchResult, CascadeResult, CostTracker, ModelConfig
from cascadeflow.agent import CascadeAgent
from cascadeflow.agent_env import USUAL_MODELS
from cascadeflow.budgets.audit import verify
from cascadeflow.budgets.stores import open_store
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.providers.registry import get_provider, register_provider
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "agent.md"
BUDGETS = ROOT / "docs" / "budgets.md"
TIERS = ROOT / "docs" / "tiers.md"
DOMAINS = ROOT / "docs" / "domains.md"
README = ROOT / "README.md"
EXAMPLES = [
    ROOT / "examples" / f"{name}.py"
    for name in ("quickstart", "streaming", "batch", "budgets", "v01")
]


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedProvider]:
    """Every provider the pages name is the simulated one; their code knows nothing of it."""
    names = {*(name for both in USUAL_MODELS.values() for name in both), "gpt-4o", "gpt-4o-mini"}
    models = [SimulatedModel(name) for name in sorted(names)]
    with SimulatedProvider(models).start_in_thread() as server:
        before = [get_provider(name) for name in ("openai", "anthropic")]
        register_provider(replace(before[0], base_url=server.base_url), replace=True)
        register_provider(replace(before[1], base_url=server.url), replace=True)
        for provider in before:
            monkeypatch.setenv(provider.key_env[0], "simulated")
        try:
            yield server
        finally:
            for provider in before:
                register_provider(provider, replace=True)


@pytest.fixture
def sentence_model() -> None:
    """Skips without the sentence model, but fails where everything must run."""
    try:
        SentenceModel.find()
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def blocks(page: Path, heading: str = "") -> list[str]:
    """A page's Python blocks, or those between a heading and the next one."""
    text = page.read_text()
    if heading:
        text = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


async def run_blocks(page: Path, heading: str = "") -> dict[str, Any]:
    """Runs a page's blocks in order, as one program; gives its names."""
    namespace: dict[str, Any] = {}
    agents: list[CascadeAgent] = []
    for source in blocks(page, heading):
        code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, namespace)  # noqa: S307 - this repository's own page
        if inspect.iscoroutine(running):
            await running
        agents.append(namespace["agent"])  # each closes its connections when the loop ends
    return namespace


@pytest.mark.usefixtures("providers")
def test_every_block_of_the_agents_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(blocks(PAGE)) >= 8
    namespace = asyncio.run(run_blocks(PAGE))
    assert namespace["result"].content
    assert "2 of 2, 0 failed" in capsys.readouterr().out


@pytest.mark.usefixtures("providers")
def test_every_block_of_the_budgets_page_runs_and_its_alerts_arrive_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALERT_SECRET", "shared by both ends")
    with receiver() as (url, received):
        monkeypatch.setenv("ALERT_URL", url)
        namespace = asyncio.run(run_blocks(BUDGETS))
    assert namespace["result"].budget.action == "none"
    accounts = {account.account for account in namespace["result"].budget.accounts}
    assert {"global total", "user:ann day", "team:research month"} <= accounts
    shown = capsys.readouterr().out
    assert "larger than the whole budget" in shown
    assert re.search(r"^ann +openai:gpt-6-luna ", shown, re.MULTILINE)
    assert received, "the refusal was to be told"
    for body, headers in received:
        namespace["receive"](body, headers)
    assert "was refused by the" in capsys.readouterr().out
    with open_store("sqlite:///budgets.db", read_only=True) as store:
        report = verify(store)
        assert report.ok, report.reason


@pytest.mark.usefixtures("providers")
def test_the_readmes_block_on_budgets_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = asyncio.run(run_blocks(README, "## Budgets that hold"))
    namespace["tracker"].close()
    booked, remaining, action = capsys.readouterr().out.split()
    assert Decimal(booked) + Decimal(remaining) == Decimal("0.50")
    assert action == "none"


@pytest.mark.usefixtures("providers")
def test_every_block_of_the_tiers_page_runs_and_refuses_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (toml,) = re.findall(r"^```toml\n(.*?)^```", TIERS.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "tiers.toml").write_text(toml)
    assert len(blocks(TIERS)) >= 11
    namespace = asyncio.run(run_blocks(TIERS))
    namespace["tracker"].close()
    shown = capsys.readouterr().out
    assert "user:ann per_minute 5 " in shown
    assert "free feature tools" in shown
    assert "pro resolver the resolver says 'pro'\nfree\n" in shown
    assert "['tier:free day', 'user:ann day']" in shown
    assert "user:eve total True" in shown


@pytest.mark.usefixtures("providers")
def test_the_readmes_block_on_tiers_runs(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(run_blocks(README, "## Tiers that are enforced"))
    limit, retry_after, headers = capsys.readouterr().out.split(" ", 2)
    assert limit == "per_minute"
    assert 0 < float(retry_after) <= 12
    assert ast.literal_eval(headers)["X-RateLimit-Limit"] == "5"


@pytest.mark.usefixtures("providers", "sentence_model")
def test_every_block_of_the_page_on_domains_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (toml,) = re.findall(r"^```toml\n(.*?)^```", DOMAINS.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "domains.toml").write_text(toml)
    assert len(blocks(DOMAINS)) >= 8
    asyncio.run(run_blocks(DOMAINS))
    shown = capsys.readouterr().out
    assert re.search(r"^legal (rules|semantic) 0\.\d+$", shown, re.MULTILINE)
    assert "\nbilling openai:gpt-6-luna\n" in shown
    short, long = map(int, re.findall(r"^(\d+) tokens$", shown, re.MULTILINE))
    assert 400 < short < 560
    assert 1_150 < long < 1_450
    assert re.search(r"^0\.\d+ 0\.\d+ 0\.\d+$", shown, re.MULTILINE)


@pytest.mark.usefixtures("providers", "sentence_model")
def test_the_readmes_block_on_domains_runs(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(run_blocks(README, "## Domain routing"))
    assert capsys.readouterr().out.startswith("billing openai:gpt-6-luna semantic: ")


@pytest.mark.usefixtures("sentence_model")
def test_the_example_of_domains_runs_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "domain_routing.py"), run_name="__main__")
    found = re.findall(r"^  about    (\w+) \(", capsys.readouterr().out, re.MULTILINE)
    assert found == ["billing", "math", "data", "general"]


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[bytes, dict[str, str]]]]]:
    """A service on this machine that takes webhooks; gives its address and what it received."""
    received: list[tuple[bytes, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((body, dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/alerts", received
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(
    providers: SimulatedProvider, example: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert providers.stats.requests > 0
    assert capsys.readouterr().out


def test_the_page_names_every_option_and_every_usual_model() -> None:
    text = PAGE.read_text()
    for function in (CascadeAgent.__init__, CascadeAgent.run):
        for name in set(inspect.signature(function).parameters) - {"self", "query"}:
            assert f"`{name}`" in text or f"{name}=" in text, name
    for provider, names in USUAL_MODELS.items():
        for name in names:
            assert f"`{provider}:{name}`" in text


V01 = """
ModelConfig CascadeConfig UserTier WorkflowProfile LatencyProfile OptimizationWeights
DEFAULT_TIERS EXAMPLE_WORKFLOWS CascadeAgent CascadeResult ComplexityDetector QueryComplexity
DomainDetector ModelScorer LatencyAwareExecutionPlanner ExecutionStrategy ExecutionPlan
WholeResponseCascade SpeculativeCascade SpeculativeResult QualityConfig QualityValidator
ValidationResult ComparativeValidator AdaptiveThreshold CallbackManager CallbackEvent CallbackData
ResponseCache StreamManager StreamEventType StreamEvent VisualIndicator TerminalVisualConsumer
SilentConsumer get_cost_optimized_agent get_balanced_agent get_speed_optimized_agent
get_quality_optimized_agent get_development_agent auto_agent BatchConfig BatchStrategy BatchResult
BatchProcessingError TierConfig TierLevel TIER_PRESETS UserProfile UserProfileManager RateLimiter
RateLimitState RateLimitError ContentModerator ModerationResult PIIDetector PIIMatch
GuardrailsManager GuardrailViolation ModelResponse BaseProvider PROVIDER_REGISTRY setup_logging
format_cost estimate_tokens CascadeFlowError ConfigError ProviderError ModelError
BudgetExceededError QualityThresholdError RoutingError ValidationError CostTracker __version__
__author__ __license__ quality_config enable_cascade verbose config tiers workflows enable_caching
cache_size enable_callbacks complexity_hint force_direct tools tool_choice user_tier enable_visual
run_streaming stream_events run_batch from_env from_profile get_stats print_stats name provider
cost keywords domains max_tokens system_prompt temperature api_key base_url extra speed_ms
quality_score supports_tools content model_used total_cost latency_ms complexity cascaded
draft_accepted routing_strategy reason tool_calls has_tool_calls quality_threshold
quality_check_passed rejection_reason draft_response verifier_response response_length
response_word_count complexity_detection_ms draft_generation_ms quality_verification_ms
verifier_generation_ms cascade_overhead_ms draft_cost verifier_cost cost_saved draft_model
draft_latency_ms draft_confidence verifier_model verifier_latency_ms verifier_confidence metadata
to_dict budget_limit warn_threshold add_cost get_summary get_recent_entries get_entries_by_model
get_entries_by_provider reset print_summary
"""


def test_the_migration_page_says_what_became_of_every_name_of_v01() -> None:
    text = (ROOT / "docs" / "migration.md").read_text()
    missing = [name for name in V01.split() if not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_what_the_migration_page_calls_kept_is_there() -> None:
    agent = set(dir(CascadeAgent)) | set(inspect.signature(CascadeAgent.__init__).parameters)
    kept = {
        CascadeResult: "content model_used total_cost latency_ms complexity cascaded "
        "draft_accepted cost_saved routing_strategy reason has_tool_calls tool_calls draft_model "
        "verifier_model draft_cost verifier_cost draft_latency_ms verifier_latency_ms "
        "quality_score quality_threshold quality_check_passed rejection_reason metadata to_dict",
        CostTracker: "budget_limit add_cost get_summary get_recent_entries get_entries_by_model "
        "get_entries_by_provider print_summary reset total_cost by_model by_provider by_user "
        "entries budget_warned budget_exceeded",
        BatchResult: "results errors success_count failure_count success_rate total_cost "
        "average_cost total_time average_time",
        ModelConfig: "name provider cost api_key base_url system_prompt extra max_tokens "
        "temperature supports_tools quality_score speed_ms",
    }
    for kind, names in kept.items():
        there = set(dir(kind)) | set(inspect.signature(kind).parameters)
        assert set(names.split()) <= there, kind
    assert {"models", "quality_config", "enable_cascade", "verbose"} <= agent
    assert {"run", "run_streaming", "stream_events", "run_batch", "from_env"} <= agent
