"""An answer as it is written, in both modes.

Needs OPENAI_API_KEY and ANTHROPIC_API_KEY. Run: python examples/streaming.py
"""

from __future__ import annotations

import asyncio

from cascadeflow import AnswerReplaced, CascadeAgent, DraftJudged, RequestCompleted, TextChunk


async def show(agent: CascadeAgent, *, show_draft: bool) -> None:
    """Prints one answer as it comes."""
    async for event in agent.stream("Name three rivers of Norway.", show_draft=show_draft):
        match event:
            case TextChunk():
                print(event.text, end="", flush=True)
            case DraftJudged():
                verdict = "accepted" if event.quality.accepted else "rejected"
                print(f"\n[draft {verdict}] ", end="")
            case AnswerReplaced():
                print(f"\n[replaced: {event.reason}] ", end="")
            case RequestCompleted():
                print(f"\n[{event.result.model_used}, {event.result.cost.total} USD]\n")


async def main() -> None:
    """Streams twice: the draft held back until it is accepted, then the draft shown at once."""
    async with CascadeAgent(["openai:gpt-6-luna", "anthropic:claude-opus-5-5"]) as agent:
        await show(agent, show_draft=False)
        await show(agent, show_draft=True)


if __name__ == "__main__":
    asyncio.run(main())
