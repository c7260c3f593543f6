"""OpenAI's responses protocol: reasoning with an effort, and a tool whose result goes back.

The second request carries the first answer back item by item, its encrypted reasoning included, so
that the model goes on thinking where it stopped. Needs OPENAI_API_KEY.
Run: python examples/openai_responses.py
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cascadeflow import ModelConfig
from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import TextDelta
from cascadeflow.providers import Providers, get_codec
from cascadeflow.types import ChatRequest, Message, Tool

MODEL = ModelConfig(
    "gpt-5-mini", "openai-responses", extra={"reasoning": {"effort": "low", "summary": "auto"}}
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("weather", "The weather in a city now", CITY)


async def main() -> None:
    """Asks, answers the model's call of the tool, and prints what it says as it is written."""
    providers = Providers()
    question = Message("user", "What should I wear in Oslo today?")
    request = ChatRequest(model=MODEL.name, messages=(question,), tools=(WEATHER,))
    answer = (await providers.complete(MODEL, request)).completion
    print(f"[{answer.finish_reason}: {[call.arguments for call in answer.tool_calls]}]")
    back = get_codec(MODEL.provider).assistant_message(answer)
    results = [Message("tool", "-4 °C, snow", tool_call_id=each.id) for each in answer.tool_calls]
    request = replace(request, messages=(question, back, *results))
    async for event in providers.stream(MODEL, request):
        if isinstance(event, TextDelta):
            print(event.text, end="", flush=True)
        elif isinstance(event, Reply):
            print(f"\n{event.completion.usage}")
    await providers.aclose()


if __name__ == "__main__":
    asyncio.run(main())
