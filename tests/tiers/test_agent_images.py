"""An image is one under whatever name it comes, where a tier includes none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_world import World, ask

from cascadeflow import TierConfig, TierForbiddenError
from cascadeflow.testing import CannedResponse, RecordingTransport
from cascadeflow.tiers.config import FEATURES


@pytest.mark.parametrize(
    "options",
    [
        {
            "query": None,
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "file", "file": {"file_id": "https://example.org/a.png"}}],
                }
            ],
        },
        {"extra": {"contents": [{"role": "user", "parts": [{"inlineData": {"data": "a.png"}}]}]}},
    ],
)
def test_an_image_under_another_name_is_an_image(options: Any) -> None:
    sent = RecordingTransport(respond=lambda _: CannedResponse.json({}, status=500))
    world = World(small=["small says"])
    agent = world.agent(
        models=[world.model("small", "gemini")],
        tier_config={"free": TierConfig("free", features=FEATURES - {"images"})},
        transport=sent,
    )
    with pytest.raises(TierForbiddenError):
        ask(agent, **options)
    assert "a.png" not in json.dumps([exchange.request_json for exchange in sent.exchanges])
