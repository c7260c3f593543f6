"""`cascadeflow tokens`: how many tokens a text is for a model, and what they cost as input."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.output import JsonOption, VerboseOption, opened, usd
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from cascadeflow.models.tokens import TokenCount

__all__ = ["tokens"]

_DEFAULT = "o200k_base"


def tokens(
    text: Annotated[
        str | None, typer.Argument(help="The text; - reads standard input.", show_default=False)
    ] = None,
    *,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text here.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help=f"provider:model or a vocabulary, repeatedly. Default: {_DEFAULT}"
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A Hugging Face tokenizer.json, for every model named.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Count a chat with this one user message.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Count tokens: exact where the vocabulary is known, else estimated with an upper bound."""
    from rich.table import Table  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        content = _content(text, file)
        counts: list[dict[str, Any]] = []
        for each in model or [_DEFAULT]:
            count, cost = _count(content, each, tokenizer, chat=chat)
            counts.append(
                {
                    "model": each,
                    "tokens": count.tokens,
                    "upper_bound": count.upper_bound,
                    "exact": count.exact,
                    "method": count.method,
                    "input_cost": cost,
                }
            )
        shown = Table()
        shown.add_column("model", overflow="fold")
        for heading in ("tokens", "at most"):
            shown.add_column(heading, justify="right")
        shown.add_column("counted by")
        shown.add_column("as input", justify="right")
        for values in counts:
            shown.add_row(
                values["model"],
                f"{values['tokens']:,}",
                "unknown" if values["upper_bound"] is None else f"{values['upper_bound']:,}",
                f"{values['method']}{', exact' if values['exact'] else ''}",
                "" if values["input_cost"] is None else usd(values["input_cost"]),
            )
        output.console.print(shown)
        size = {"characters": len(content), "bytes": len(content.encode())}
        output.console.print(f"{size['characters']:,} characters, {size['bytes']:,} bytes")
        output.result({**size, "counts": counts})


def _content(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise InvalidRequestError("give a text, or a file with -f")
    if file is None:
        return sys.stdin.read() if text == "-" else text or ""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error


def _count(
    content: str, name: str, tokenizer: Path | None, *, chat: bool
) -> tuple[TokenCount, float | None]:
    """Counts a text for a model, and prices it as input where the price is known."""
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415
    from cascadeflow.models.prices import price_of  # noqa: PLC0415
    from cascadeflow.models.tokens import count_request, count_text  # noqa: PLC0415
    from cascadeflow.models.usage import Usage  # noqa: PLC0415
    from cascadeflow.types import ChatRequest, Message  # noqa: PLC0415

    if ":" not in name:
        if chat or tokenizer is not None:
            raise InvalidRequestError(
                f"--chat and --tokenizer need a model, such as -m openai:gpt-5; not {name!r}"
            )
        return count_text(content, model=name), None
    settings: dict[str, Any] = {} if tokenizer is None else {"tokenizer": str(tokenizer)}
    model = ModelConfig.parse(name, **settings)
    if chat:
        count = count_request(ChatRequest(model.name, (Message("user", content),)), model)
    else:
        count = count_text(content, model=model)
    price = price_of(model, at=datetime.now(UTC))
    if price is None:
        return count, None
    usage = Usage(input_tokens=count.tokens, output_tokens=0)
    return count, price.cost(usage) / 10**9
