"""In which order a request is looked at, and what its course teaches of those to come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import (
    CascadeAgent,
    Domain,
    DomainDetector,
    Drafting,
    QualityConfig,
    RateLimitError,
    RateLimits,
    TierConfig,
    TierForbiddenError,
)
from cascadeflow._native import Vectors
from cascadeflow.domains.acceptance import PRIORS
from cascadeflow.domains.rules import RuleLayer

if TYPE_CHECKING:
    from collections.abc import Sequence

EASY = "Where is Oslo?"
LEGAL = "zebraclause?"
RULES = {
    "domain": "legal",
    "rule": [{"name": "a clause that decides", "weight": 40.0, "any": "zebraclause"}],
}
BEES = Domain("bees", examples=["bbb", "bb b", "bbbb b"])
SMALL, MIDDLE = "openai:small", "openai:middle"


class Letters:
    """An embedder whose vectors a test can foresee, and which texts it was given."""

    name = "letters/1"
    dimension = 3

    def __init__(self) -> None:
        self.given: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = [[float(text.count("a")), float(text.count("b")), 0.5] for text in texts]
        return Vectors(rows).normalised()

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        await asyncio.sleep(0)
        self.given += texts
        return self.embed(texts)


def ask(agent: CascadeAgent, *queries: str, **options: Any) -> list[Any]:
    async def main() -> list[Any]:
        async with agent:
            return [await agent.run(query, **options) for query in queries]

    return asyncio.run(main())


# Who is refused


def test_who_is_refused_at_the_gate_is_not_embedded_where_every_domain_is_answered(
    world: Any,
) -> None:
    letters = Letters()
    agent = world(small=["yes"], big=["yes"]).agent(
        domains=DomainDetector([BEES], semantic=letters),
        tier_config={"free": TierConfig("free", rate_limits=RateLimits(per_hour=2))},
    )
    for query in ("b bb bbb", "b bb"):
        assert ask(agent, query, user_id="u")[0].routing.domain == "bees"
    assert letters.given == ["b bb bbb", "b bb"]
    for query in ("bbb", "aaa"):
        with pytest.raises(RateLimitError):
            ask(agent, query, user_id="u")
    assert letters.given == ["b bb bbb", "b bb"]
    assert ask(agent, "bbb", user_id="v")[0].routing.domain_layer == "semantic"


def test_a_domain_that_the_tier_has_not_is_refused_whatever_the_gate_says(world: Any) -> None:
    letters = Letters()
    w = world(small=["yes"], big=["yes"])
    limits = RateLimits(per_hour=1)
    agent = w.agent(
        domains=DomainDetector([BEES], semantic=letters),
        tier_config={"free": TierConfig("free", rate_limits=limits, domains=["code", "general"])},
    )
    with pytest.raises(TierForbiddenError, match="bees"):
        ask(agent, "b bb", user_id="u")
    assert (letters.given, w.asked) == (["b bb"], [])
    # That took nothing of its limit.
    assert ask(agent, "aaa", user_id="u")[0].routing.domain == "general"
    with pytest.raises(TierForbiddenError, match="bees"):
        ask(agent, "bbb", user_id="u")
    with pytest.raises(RateLimitError):
        ask(agent, "aa", user_id="u")


# What is learned


@pytest.mark.parametrize("accepted", [True, False])
def test_a_repeat_is_known_again_though_drafting_was_learned_about_meanwhile(
    world: Any, *, accepted: bool
) -> None:
    drafting = Drafting()
    w = world(middle=["yes"], big=["yes"])
    agent = w.agent(drafting=drafting, cache=True)

    def learn(*, accepted: bool) -> None:
        for _ in range(200):
            drafting.judged(domain="general", level="trivial", model=MIDDLE, accepted=accepted)

    async def main() -> list[str]:
        async with agent:
            learn(accepted=not accepted)
            first = await agent.run(EASY)
            learn(accepted=accepted)
            again = await agent.run(EASY)
            anew = await agent.run(EASY, use_cache=False)
            return [each.routing.route for each in (first, again, anew)]

    first, again, anew = asyncio.run(main())
    assert (first, anew) == (("direct", "cascade") if accepted else ("cascade", "direct"))
    assert again == "cache"
    assert len(w.asked) == 2


@pytest.mark.parametrize(
    ("own", "moves"),
    [
        ({"threshold": 0.97}, False),
        ({"quality": QualityConfig(threshold=0.95)}, False),
        ({}, True),
    ],
    ids=["threshold", "quality", "none"],
)
def test_drafts_rejected_by_a_domains_own_standard_say_nothing_of_other_domains(
    world: Any, own: dict[str, Any], *, moves: bool
) -> None:
    drafting = Drafting()
    agent = world(small=["BAD"], big=["yes"]).agent(
        drafting=drafting,
        domains=DomainDetector(
            [Domain("legal", **own)], rules=RuleLayer(extra=[RULES]), semantic=False
        ),
    )
    results = ask(agent, *[LEGAL] * 12)
    level = results[0].routing.complexity
    assert results[0].quality.accepted is False
    legal, other = (
        drafting.acceptance.estimate(domain, level, SMALL) for domain in ("legal", "math")
    )
    assert legal.observations > 3
    assert legal.probability < PRIORS[level]
    assert (other.probability < PRIORS[level] - 0.05) == moves
    assert (other.probability == pytest.approx(PRIORS[level])) != moves


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_a_limit_cut_teaches_no_length(world: Any, *, streamed: bool) -> None:
    cut = {"text": "BAD and", "output_tokens": 9, "finish": "length"}
    whole = {"text": "yes", "output_tokens": 70}
    drafting = Drafting()
    agent = world(small=[cut, whole], big=[{**cut, "text": "so"}]).agent(drafting=drafting)

    async def main() -> None:
        async with agent:
            for lengths in (0, 1):  # what was cut: a draft and a verifier's answer
                if streamed:
                    async for _ in agent.stream(EASY):
                        pass
                else:
                    await agent.run(EASY)
                assert len(drafting.lengths.learned) == lengths
            assert drafting.acceptance.estimate("general", "trivial", SMALL).observations > 0

    asyncio.run(main())
