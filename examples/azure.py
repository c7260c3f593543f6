"""Models at Azure: deployments of your own, drafting and verifying.

Needs AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT, such as https://RESOURCE.openai.azure.com; for
a dated version of the API also OPENAI_API_VERSION, such as 2024-10-21.
Run: python examples/azure.py CHEAP_DEPLOYMENT STRONG_DEPLOYMENT
"""

from __future__ import annotations

import asyncio
import sys

from cascadeflow import CascadeAgent, ModelConfig


async def main(draft: str, verifier: str) -> None:
    """Asks, and prints which deployment answered, with the ids of its requests.

    A deployment may bear any name. Where it is not the model's, its price must be stated:
    `ModelConfig(draft, "azure", price=Price(input=…, output=…))`, in US dollars per million tokens.
    """
    models = [ModelConfig(draft, "azure"), ModelConfig(verifier, "azure")]
    async with CascadeAgent(models) as agent:
        result = await agent.run("What is the capital of Norway?")
    print(result.content)
    print(f"answered by  {result.routing.model_used}, for {result.cost.total} USD")
    for attempt in result.attempts:
        print(f"{attempt.model:12} {attempt.outcome}, request {attempt.request_id}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [draft, verifier]:
            asyncio.run(main(draft, verifier))
        case _:
            sys.exit(__doc__)
