"""`cascadeflow judge`: marks a log of recorded answers by a judge model, offline."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cascadeflow.cli.output import JsonOption, Output, VerboseOption, opened, usd
from cascadeflow.errors import (
    BudgetExceededError,
    CascadeFlowError,
    InvalidRequestError,
    StoreError,
    UnknownPriceError,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from cascadeflow.cli.judging import Question, Verdicts
    from cascadeflow.models.config import ModelConfig

__all__ = ["judge"]

_USUAL_OUTPUT: Final = 60
"""Tokens of a judge's sentence and grade, for the estimate."""

_THINKING: Final = 16
"""How many times the output a judge gets that thinks before it answers: it thinks inside it."""


def judge(
    log: Annotated[Path, typer.Argument(help="Recorded answers: JSON lines, .gz or not.")],
    *,
    model: Annotated[str, typer.Option(help="Who judges: provider:model.")],
    out: Annotated[
        Path | None, typer.Option(help="The marked log. Default: LOG with .judged in its name.")
    ] = None,
    draft: Annotated[
        str | None, typer.Option(help="Compare this model's answers with --verifier's.")
    ] = None,
    verifier: Annotated[
        str | None, typer.Option(help="What they are compared with, in both orders.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="The rows' field that holds the right answer.")
    ] = None,
    rubric: Annotated[
        Path | None, typer.Option(help="A text file to judge by, grades 1 to 5.")
    ] = None,
    max_cost: Annotated[
        float, typer.Option(min=0.0, help="US dollars; nothing is asked that could exceed it.")
    ] = 1.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions under way at once.")] = 8,
    price: Annotated[
        str | None,
        typer.Option(help="The judge's price: IN,OUT in US dollars per million tokens."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Where the judge is, such as a simulated provider.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it costs.")] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Mark recorded answers by a judge model, for `replay` and `tune`; resumable."""
    from cascadeflow.cli.judging import JudgedLog, Verdicts, read_log, write_log  # noqa: PLC0415
    from cascadeflow.cli.replay.formats import resolve_model  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        if (draft is None) is not (verifier is None):
            raise InvalidRequestError("--draft and --verifier belong together: they are compared")
        rows = read_log(log)
        pair = None
        if draft is not None and verifier is not None:
            names = sorted({name for row in rows for name in row["models"]})
            pair = (resolve_model(draft, names), resolve_model(verifier, names))
            if pair[0] == pair[1]:
                raise InvalidRequestError(f"--draft and --verifier are both {pair[0]}")
        judged = JudgedLog(rows, pair, None if rubric is None else _rubric(rubric), reference)
        asker = _Asker(_model(model, price, base_url))
        if not dry_run:
            asker.need_key()
        target = out or _beside(log)
        verdicts = Verdicts(
            target.with_name(f"{target.name}.partial"), judged.fingerprint(asker.model.id)
        )
        pending = [each for each in judged.questions() if each.key not in verdicts.said]
        before = len(verdicts.said)
        likely, most = asker.estimate(pending)
        output.console.print(
            f"{asker.model.id} is asked {len(pending)} questions"
            + (f", {before} are answered already" if before else "")
            + f": about {usd(likely / 1e9, places=4)}, at most {usd(most / 1e9, places=4)}; "
            f"--max-cost {_whole(max_cost)}",
            markup=False,
        )
        cost: Decimal | None = None
        unjudged: int | None = None
        if not dry_run:
            cost, failure = asyncio.run(asker.ask(pending, verdicts, max_cost, concurrency))
            left = sum(each.key not in verdicts.said for each in pending)
            if left:
                what = f"{left} of {len(pending)} questions were not answered"
                kept = f"what was answered is kept beside {target.name}"
                if isinstance(failure, BudgetExceededError):
                    raise StoreError(
                        f"{what}: of the --max-cost of {_whole(max_cost)}, "
                        f"{_whole(float(cost))} is spent, and what is left may not suffice for one "
                        f"more; {kept}: run the same command again, where need be with a higher "
                        "--max-cost, to go on"
                    ) from failure
                raise StoreError(
                    f"{what} ({failure}); {kept}: run the same command again to go on"
                ) from failure
            rows, unjudged = judged.answered(verdicts.said)
            write_log(target, rows)
            verdicts.delete()
            _say(output, target, len(rows), unjudged, cost)
        output.result(
            {
                "model": asker.model.id,
                "questions": len(pending),
                "answered_before": before,
                "estimated_cost": likely / 1e9,
                "most_cost": most / 1e9,
                "cost": None if cost is None else float(cost),
                "rows": len(rows),
                "unjudged": unjudged,
                "out": None if dry_run else str(target),
            }
        )


@dataclass(slots=True)
class _Asker:
    """Asks the judge."""

    model: ModelConfig

    def need_key(self) -> None:
        """Makes sure that the judge can be asked, before anything is.

        Raises:
            ConfigurationError: there is no key for it in the environment.
        """
        from cascadeflow.providers.target import Target  # noqa: PLC0415

        Target(self.model).key()

    def estimate(self, questions: list[Question]) -> tuple[int, int]:
        """What asking is likely to cost, and the most it can, in nanodollars."""
        from cascadeflow.models.prices import require_price  # noqa: PLC0415
        from cascadeflow.models.tokens import count_request  # noqa: PLC0415
        from cascadeflow.models.usage import Usage  # noqa: PLC0415
        from cascadeflow.models.worst_case import worst_case  # noqa: PLC0415
        from cascadeflow.types import ChatRequest  # noqa: PLC0415

        now = datetime.now(UTC)
        try:
            price = require_price(self.model, at=now)
        except UnknownPriceError as error:
            raise UnknownPriceError(
                f"the price of {self.model.id} is not known: state it with --price IN,OUT, in US "
                "dollars per million tokens, such as --price 0.15,0.6"
            ) from error
        likely = most = 0
        for each in questions:
            chat = ChatRequest(
                self.model.name, each.messages, max_tokens=self._output(), response_format=each.form
            )
            tokens = count_request(chat, self.model).tokens
            usual = min(self._output(), _USUAL_OUTPUT * (_THINKING if self._reasons() else 1))
            likely += price.cost(Usage(input_tokens=tokens, output_tokens=usual))
            most += worst_case(self.model, chat, output_tokens=self._output(), at=now).nanodollars
        return likely, most

    async def ask(
        self, questions: list[Question], verdicts: Verdicts, max_cost: float, concurrency: int
    ) -> tuple[Decimal, CascadeFlowError | None]:
        """Asks all of them; gives what it cost, and the last failure.

        Where the money that is left does not suffice for one more question beside those under way,
        fewer are asked at once; where it does not suffice for one, that is the end.
        """
        from cascadeflow.agent import CascadeAgent  # noqa: PLC0415
        from cascadeflow.budgets.tracker import CostTracker  # noqa: PLC0415
        from cascadeflow.config import BudgetConfig  # noqa: PLC0415

        tracker = CostTracker(global_budget=BudgetConfig(total=max_cost))
        agent = CascadeAgent([self.model], enable_cascade=False, cost_tracker=tracker)
        waiting = list(reversed(questions))
        failure: CascadeFlowError | None = None

        async def work() -> None:
            nonlocal failure
            while waiting:
                each = waiting.pop()
                try:
                    result = await agent.run(
                        messages=each.messages,
                        max_tokens=self._output(),
                        temperature=self._temperature(),
                        response_format=each.form if self._structured() else None,
                        use_cache=False,
                    )
                except BudgetExceededError as error:
                    waiting.append(each)
                    failure = error
                    return  # those under way give back what they do not use
                except CascadeFlowError as error:
                    failure = error
                else:
                    whole = result.finish_reason != "length"
                    verdicts.add(each.key, result.content if whole else "")

        async with agent:
            await asyncio.gather(*(work() for _ in range(min(concurrency, len(questions)))))
            # What was held for the others is free again: one at a time goes further.
            await work()
        return tracker.spent, failure

    def _can(self, what: str) -> bool | None:
        from cascadeflow.models.catalogue import lookup  # noqa: PLC0415

        facts = lookup(self.model.provider, self.model.name)
        return None if facts is None else facts.can(what)

    def _reasons(self) -> bool:
        return self._can("reasoning") is True

    def _structured(self) -> bool:
        # Where the catalogue knows the model but not that it takes a schema, it may refuse one.
        from cascadeflow.models.catalogue import lookup  # noqa: PLC0415

        known = lookup(self.model.provider, self.model.name) is not None
        return not known or self._can("structured_output") is True

    def _temperature(self) -> float | None:
        return None if self._reasons() or self._can("sampling") is False else 0.0

    def _output(self) -> int:
        from cascadeflow.quality.rubric import OUTPUT_TOKENS  # noqa: PLC0415

        return OUTPUT_TOKENS * (_THINKING if self._reasons() else 1)


def _model(name: str, price: str | None, base_url: str | None) -> ModelConfig:
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415
    from cascadeflow.models.prices import Price  # noqa: PLC0415

    model = ModelConfig.parse(name)
    if price is not None:
        given, _, taken = price.partition(",")
        if not given.strip() or not taken.strip():
            raise InvalidRequestError(
                "--price is IN,OUT in US dollars per million tokens, such as 0.15,0.6; not "
                f"{price!r}"
            )
        model = replace(model, price=Price(input=given.strip(), output=taken.strip()))
    return model if base_url is None else replace(model, base_url=base_url)


def _rubric(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not text:
        raise InvalidRequestError(f"--rubric {path} is empty")
    return text


def _beside(log: Path) -> Path:
    """`log.jsonl` gives `log.judged.jsonl`, in the same folder."""
    stem, dot, endings = log.name.partition(".")
    return log.with_name(f"{stem}.judged{dot}{endings}")


def _whole(amount: float) -> str:
    """US dollars with all the digits that they have, two at least."""
    cents, _, rest = f"{amount:,.9f}".rstrip("0").partition(".")
    return f"${cents}.{rest:0<2}"


def _say(output: Output, target: Path, rows: int, unjudged: int, cost: Decimal) -> None:
    output.console.print(f"written: {target}, {rows} rows; cost {usd(float(cost))}", markup=False)
    if unjudged:
        output.console.print(
            f"{unjudged} answers could not be judged: they stand in their rows' `unjudged`, where "
            f"replay and tune pass them over. Judge {target.name}, by another model where need be, "
            "to ask about these alone",
            style="yellow",
            markup=False,
        )
