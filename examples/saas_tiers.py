"""Tiers in a web service: a signed token says who asks, and the server alone says in which tier.

Needs starlette, uvicorn, OPENAI_API_KEY and ANTHROPIC_API_KEY; or, in place of the keys, what
`cascadeflow simulate -m gpt-6-luna -m claude-opus-5-5` prints. Run: python examples/saas_tiers.py
"""

from __future__ import annotations

import hmac
import logging
import os
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import uvicorn
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cascadeflow import (
    AllModelsFailedError,
    BudgetExceededError,
    CascadeAgent,
    InvalidRequestError,
    RateLimitError,
    RateLimits,
    TierConfig,
    TierForbiddenError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

SECRET = os.environ.get("APP_SECRET", "").encode() or os.urandom(32)
TIERS = {"ann": "free", "bob": "pro"}  # your database
ERRORS = {
    RateLimitError: 429,
    TierForbiddenError: 403,
    BudgetExceededError: 402,
    InvalidRequestError: 400,
    ValidationError: 400,
    AllModelsFailedError: 502,
}

agent = CascadeAgent(
    ["openai:gpt-6-luna", "anthropic:claude-opus-5-5"],
    tier_config={
        "free": TierConfig.free(rate_limits=RateLimits(per_hour=10)),
        "pro": TierConfig.pro(),
    },
    tier_resolver=TIERS.get,  # whom it does not know is in "free"
)


class Question(BaseModel):
    """What is read of a request's body. Whatever else stands in it, a tier, a model, is not."""

    question: str = Field(min_length=1, max_length=20_000)


def token_for(user: str) -> str:
    """Gives the token that a user gets when signing in."""
    return f"{user}.{hmac.digest(SECRET, user.encode(), 'sha256').hex()}"


def user_of(request: Request) -> str:
    """Says whose token a request came with; without one it ends here."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    user = token.rpartition(".")[0]
    if not hmac.compare_digest(token.encode(), token_for(user).encode()):
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return user


async def ask(request: Request) -> Response:
    """Answers a question."""
    user = user_of(request)
    body = Question.model_validate_json(await request.body())
    result = await agent.run(body.question, user_id=user)
    answer = {"answer": result.content, "tier": result.tier.name}
    return JSONResponse(answer, headers=dict(result.tier.headers))


async def refuse(request: Request, error: Exception) -> Response:
    """Says that it was refused and when to come again; why is for the log."""
    logging.getLogger("saas").info("%s: %s", request.url.path, error)
    status = next(status for kind, status in ERRORS.items() if isinstance(error, kind))
    answer = {"error": HTTPStatus(status).phrase}
    return JSONResponse(answer, status, headers=dict(getattr(error, "headers", {})))


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Closes the agent's connections when the service ends."""
    async with agent:
        yield


app = Starlette(
    routes=[Route("/ask", ask, methods=["POST"])],
    exception_handlers=dict.fromkeys(ERRORS, refuse),
    lifespan=lifespan,
)

if __name__ == "__main__":
    for name, tier in TIERS.items():
        print(f"{name}, {tier}: Authorization: Bearer {token_for(name)}", flush=True)
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
