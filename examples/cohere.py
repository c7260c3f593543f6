"""Cohere's v2 chat: documents to answer from, citations, and what of the tokens is billed.

Needs COHERE_API_KEY. Run: python examples/cohere.py
"""

from __future__ import annotations

import asyncio
import base64

from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import TextDelta
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers import Providers
from cascadeflow.types import ChatRequest, DocumentPart, Message, TextPart

NOTES = {
    "opening hours": "The library opens at nine, and on Sundays at noon.",
    "lending": "Books may be kept for four weeks, films for one.",
}


def document(title: str, text: str) -> DocumentPart:
    """Makes a document of a text."""
    data = base64.b64encode(text.encode()).decode()
    return DocumentPart(data=data, media_type="text/plain", name=title)


async def main() -> None:
    """Asks about the notes, prints the answer as it comes, and what each part of it rests on."""
    model = ModelConfig("command-a-03-2025", "cohere")
    question = TextPart("When does the library open on a Sunday?")
    notes = [document(title, text) for title, text in NOTES.items()]
    request = ChatRequest(model=model.name, messages=(Message("user", (question, *notes)),))
    providers = Providers()
    try:
        async for event in providers.stream(model, request):
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
            elif isinstance(event, Reply):
                show(event)
    finally:
        await providers.aclose()


def show(reply: Reply) -> None:
    """Prints the citations, and the two ways in which Cohere counts."""
    extras = reply.completion.extras
    print()
    for citation in extras.get("message", {}).get("citations", []):
        sources = [each.get("document", {}).get("title") for each in citation["sources"]]
        print(f"  {citation['text']!r} rests on {sources}")
    usage = reply.completion.usage
    if usage is not None:
        print(f"billed: {usage.input_tokens} in, {usage.output_tokens} out")
        print(f"read and written with the template: {extras['usage'].get('tokens')}")


if __name__ == "__main__":
    asyncio.run(main())
