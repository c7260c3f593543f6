"""A provider of your own that is compatible with OpenAI: one record, and it is a cascade's draft.

Needs a server at BASE_URL (vLLM, llama.cpp, a proxy …), and OPENAI_API_KEY for the verifier.
Run: python examples/openai_compatible.py http://localhost:8000/v1 MODEL
"""

from __future__ import annotations

import asyncio
import sys

from cascadeflow import CascadeAgent, ModelConfig
from cascadeflow.providers import Provider, Quirks, register_provider


async def main(base_url: str, name: str) -> None:
    """Registers the server, and lets it draft."""
    register_provider(
        Provider(
            id="mine",
            base_url=base_url,
            key_env=("MY_LLM_KEY",),  # sent where it is set: what is local needs none
            local=True,  # costs nothing unless a price is stated
            quirks=Quirks(refuses=frozenset({"user"})),  # not sent, because it would be an error
        )
    )
    models = [ModelConfig(name, "mine"), ModelConfig("gpt-6.1-sol", "openai")]
    async with CascadeAgent(models) as agent:
        result = await agent.run("What is the capital of Norway?", max_tokens=200)
    print(result.content)
    print(f"answered by  {result.routing.model_used}, for {result.cost.total:f} USD")
    print(f"saved        {result.cost.saved} USD")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [base_url, name]:
            asyncio.run(main(base_url, name))
        case _:
            sys.exit(__doc__)
