"""A cascade of two models on Amazon Bedrock: the draft by Nova, verified by Claude when it must be.

Needs the extra `bedrock` (pip install 'cascadeflow[bedrock]'), AWS_REGION, and AWS credentials of
any kind: keys in the environment, AWS_PROFILE, single sign-on, a role. A Bedrock API key in
AWS_BEARER_TOKEN_BEDROCK does without the extra. Run: python examples/bedrock.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import CascadeAgent, ModelConfig

MODELS = [
    ModelConfig("us.amazon.nova-micro-v1:0", "bedrock"),
    # What converse has no word for goes to the model as it is written here.
    ModelConfig(
        "us.anthropic.claude-sonnet-4-6",
        "bedrock",
        extra={"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}},
    ),
]


async def main() -> None:
    """Asks, and prints which model answered, what it cost and how it was reached."""
    async with CascadeAgent(MODELS) as agent:
        result = await agent.run("What is the capital of Norway?", max_tokens=2000)
    print(result.content)
    print(f"answered by  {result.routing.model_used} ({result.routing.reason})")
    print(f"cost         {result.cost.total} USD")
    for attempt in result.attempts:
        print(f"request      {attempt.model}: {attempt.outcome}, id {attempt.request_id}")


if __name__ == "__main__":
    asyncio.run(main())
