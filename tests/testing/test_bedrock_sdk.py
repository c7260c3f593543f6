"""The Bedrock form, read by Amazon's own client, whose requests are signed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = "What is the capital of France?"
SHEET = {QUESTION: "Paris"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}}]}


@contextmanager
def with_sdk(*models: SimulatedModel) -> Iterator[tuple[Any, SimulatedProvider]]:
    """Gives Amazon's client and the simulated provider that it asks."""
    session = pytest.importorskip("botocore.session", reason="the oracle of this test")
    config = pytest.importorskip("botocore.config")
    served = models or (SimulatedModel("small", answers=SHEET, cached_share=0.5),)
    with SimulatedProvider(served, api_key="AKIASESAME").start_in_thread() as server:
        client = session.get_session().create_client(
            "bedrock-runtime",
            region_name="eu-north-1",
            endpoint_url=server.url,
            aws_access_key_id="AKIASESAME",
            aws_secret_access_key="secret",
            config=config.Config(retries={"total_max_attempts": 1}),
        )
        try:
            yield client, server
        finally:
            client.close()


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": [{"text": text}]}]


def test_a_whole_answer_is_read_by_the_sdk() -> None:
    with with_sdk() as (client, server):
        answer = client.converse(
            modelId="small",
            system=[{"text": "Be brief."}],
            messages=user(QUESTION),
            inferenceConfig={"maxTokens": 50},
        )
        (seen,) = server.requests
        assert answer["output"]["message"]["content"] == [{"text": "Paris"}]
        assert answer["stopReason"] == "end_turn"
        usage = answer["usage"]
        assert usage["cacheReadInputTokens"] == seen.cached_tokens != 0
        assert usage["inputTokens"] + usage["cacheReadInputTokens"] == seen.prompt_tokens
        assert usage["outputTokens"] == seen.output_tokens == 2
        assert answer["ResponseMetadata"]["RequestId"] == seen.request_id
        assert (seen.protocol, seen.question, seen.right) == ("bedrock", QUESTION, True)


def test_a_model_s_id_may_have_any_characters() -> None:
    name = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    with with_sdk(SimulatedModel(name, answers=SHEET)) as (client, server):
        client.converse(modelId=name, messages=user(QUESTION))
        assert server.requests[0].model == name


def test_a_stream_is_read_by_the_sdk_and_says_the_same() -> None:
    with with_sdk() as (client, _):
        messages = user("Tell me something.")
        events = list(client.converse_stream(modelId="small", messages=messages)["stream"])
        whole = client.converse(modelId="small", messages=messages)
        texts = [
            event["contentBlockDelta"]["delta"]["text"]
            for event in events
            if "contentBlockDelta" in event
        ]
        assert "".join(texts) == whole["output"]["message"]["content"][0]["text"]
        assert len(texts) == 32
        assert events[0] == {"messageStart": {"role": "assistant"}}
        assert events[-2]["messageStop"]["stopReason"] == "end_turn"
        assert events[-1]["metadata"]["usage"] == whole["usage"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools_are_called_and_their_results_answered(stream: bool) -> None:
    def ask(client: Any, messages: list[Any]) -> tuple[str, Any, str]:
        """The text, the call, and why the answer ended."""
        if not stream:
            answer = client.converse(modelId="small", messages=messages, toolConfig=TOOLS)
            (block,) = answer["output"]["message"]["content"]
            use = block.get("toolUse")
            return block.get("text", ""), use, answer["stopReason"]
        text, use, written, reason = "", None, "", ""
        answer = client.converse_stream(modelId="small", messages=messages, toolConfig=TOOLS)
        for event in answer["stream"]:
            if "contentBlockStart" in event:
                use = event["contentBlockStart"]["start"]["toolUse"]
            elif "contentBlockDelta" in event:
                delta = event["contentBlockDelta"]["delta"]
                text += delta.get("text", "")
                written += delta.get("toolUse", {}).get("input", "")
            elif "messageStop" in event:
                reason = event["messageStop"]["stopReason"]
        return text, use and {**use, "input": json.loads(written)}, reason

    with with_sdk() as (client, server):
        question = user("What is the weather in Oslo?")
        _, use, reason = ask(client, question)
        assert reason == "tool_use"
        assert use["name"] == "get_weather"
        assert list(use["input"]) == ["city"]
        result = {"toolUseId": use["toolUseId"], "content": [{"text": "It rains."}]}
        text, again, reason = ask(
            client,
            [
                *question,
                {"role": "assistant", "content": [{"toolUse": use}]},
                {"role": "user", "content": [{"toolResult": result}]},
            ],
        )
        assert (again, reason) == (None, "end_turn")
        assert text == server.requests[-1].text != ""
        assert server.requests[-1].question == "What is the weather in Oslo?"


def test_a_limit_and_a_stop_sequence_end_an_answer() -> None:
    with with_sdk() as (client, _):
        messages = user("Tell me something.")
        cut = client.converse(modelId="small", messages=messages, inferenceConfig={"maxTokens": 9})
        assert (cut["stopReason"], cut["usage"]["outputTokens"]) == ("max_tokens", 9)
        stopped = client.converse(
            modelId="small", messages=messages, inferenceConfig={"stopSequences": [" "]}
        )
        assert stopped["stopReason"] == "stop_sequence"
        assert " " not in stopped["output"]["message"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("kind", "status", "model"),
    [
        ("ResourceNotFoundException", 404, "other"),
        ("ValidationException", 400, "tiny"),
        ("ThrottlingException", 429, "busy"),
        ("ServiceUnavailableException", 503, "full"),
        ("InternalServerException", 500, "broken"),
        ("ModelTimeoutException", 408, "slow"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_errors_are_known_to_the_sdk(kind: str, status: int, model: str, stream: bool) -> None:
    with with_sdk(
        SimulatedModel("tiny", context_window=5),
        SimulatedModel("busy", error_rate=1.0, error_status=429),
        SimulatedModel("full", error_rate=1.0, error_status=503),
        SimulatedModel("slow", error_rate=1.0, error_status=408),
        SimulatedModel("broken", error_rate=1.0),
    ) as (client, server):
        ask = client.converse_stream if stream else client.converse
        with pytest.raises(getattr(client.exceptions, kind)) as caught:
            ask(modelId=model, messages=user(QUESTION))
        response: Any = caught.value.response
        assert response["Error"]["Code"] == kind
        assert response["ResponseMetadata"]["HTTPStatusCode"] == status
        assert response["ResponseMetadata"]["RequestId"] == server.requests[0].request_id
