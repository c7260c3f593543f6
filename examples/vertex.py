"""Gemini on Vertex AI, with the credentials that every Google client finds, or with a token.

Needs GOOGLE_CLOUD_PROJECT and `pip install 'cascadeflow[vertex]'`, and either `gcloud auth
application-default login` or GOOGLE_APPLICATION_CREDENTIALS (a key's file); or, without the extra,
VERTEX_ACCESS_TOKEN. GOOGLE_CLOUD_LOCATION is `global` unless set. Run: python examples/vertex.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import CascadeAgent


async def main() -> None:
    """Asks, and prints who answered and what it cost."""
    async with CascadeAgent(["vertex:gemini-3.5-flash-lite", "vertex:gemini-3.5-flash"]) as agent:
        result = await agent.run("What is the capital of Norway?")
    print(result.content)
    print(f"answered by  {result.routing.model_used} ({result.routing.reason})")
    print(f"cost         {result.cost.total} USD")
    print(f"saved        {result.cost.saved} USD ({result.cost.saved_basis})")


if __name__ == "__main__":
    asyncio.run(main())
