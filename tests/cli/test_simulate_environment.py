"""The variables that `cascadeflow simulate` prints lead every protocol to it."""

from __future__ import annotations

import asyncio

import pytest

from cascadeflow import CascadeAgent, ModelConfig, Price
from cascadeflow.cli.simulate import _environment
from cascadeflow.testing import SimulatedModel, SimulatedProvider

PROVIDERS = (
    *("openai", "openai-responses", "anthropic", "gemini", "vertex", "bedrock", "cohere", "azure"),
)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_model_without_an_address_of_its_own_is_asked_there(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> str:
        served = SimulatedModel("small", answers={"Where is Oslo?": "In Norway."})
        async with SimulatedProvider([served]) as server:
            for name, value in _environment(server):
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
            model = ModelConfig("small", provider, price=Price(input=1, output=2))
            async with CascadeAgent([model]) as agent:
                return (await agent.run("Where is Oslo?", max_tokens=20)).content

    assert asyncio.run(scenario()) == "In Norway."
