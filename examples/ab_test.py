"""An A/B test: does a keener threshold pay, and do users like the answers better?

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. Run: python examples/ab_test.py
Then: cascadeflow experiments report experiments.db --plot intervals.svg
"""

from __future__ import annotations

import asyncio

from cascadeflow import (
    CascadeAgent,
    Experiment,
    Guardrail,
    Metric,
    QualityConfig,
    Variant,
)

MODELS = ["openai:gpt-6-luna", "anthropic:claude-opus-5-5"]
QUESTIONS = ["What is the capital of Norway?", "How many legs has a spider?"]


async def main() -> None:
    """Asks for a few users, takes their thumbs, and says how the variants compare."""
    experiment = Experiment(
        "keener-threshold",
        [
            Variant(name="control"),
            Variant(name="keen", quality=QualityConfig.fast(threshold=0.9)),
        ],
        metric="cost",
        guardrails=[
            Guardrail(metric="error", at_most=0.05),
            Guardrail(metric="latency_ms", at_most=10_000, quantile=0.95),
        ],
        also=[Metric(name="thumbs_up", better="higher", kind="share")],
        store="sqlite:///experiments.db",
    )
    async with CascadeAgent(MODELS, experiments=[experiment]) as agent:
        for number in range(6):
            user = f"user-{number}"
            for question in QUESTIONS:
                result = await agent.run(question, user_id=user)
            print(user, result.experiment.variant, result.model_used, result.cost.total)
            experiment.record("thumbs_up", 1, user_id=user)  # when they say so
    report = experiment.report()
    for variant in report.variants:
        primary = variant.primary
        print(variant.name, variant.users, "users, mean cost", primary.mean, primary.verdict or "")
    experiment.close()


if __name__ == "__main__":
    asyncio.run(main())
