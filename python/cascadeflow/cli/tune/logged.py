"""What a log says of each draft: its measures, whether it was right, and what it cost."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import TYPE_CHECKING, Final

from cascadeflow.cli.tune.tuning import LoggedDraft
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.completion import Completion
from cascadeflow.models.usage import Usage
from cascadeflow.quality.calibration import local_doubts
from cascadeflow.quality.evidence import logit
from cascadeflow.quality.fitting import JudgedDraft
from cascadeflow.quality.opinions import same_final_answer
from cascadeflow.quality.rules import judge_text
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cascadeflow.cli.replay.formats import RecordedAnswer, ReplayRow
    from cascadeflow.cli.replay.pricing import PricedModel
    from cascadeflow.config import QualityConfig
    from cascadeflow.models.embedding import Embedder, RequestVectors
    from cascadeflow.quality.local import LocalChecks, LocalFindings
    from cascadeflow.quality.rules import TextJudgement

__all__ = ["LogJudge"]

_AT_ONCE: Final = 8
"""Drafts that the local models look at together; what they say does not depend on it."""

_VECTORS_KEPT: Final = 1_000
"""Drafts whose texts' vectors are kept, some 15 kB a draft: a text that comes again later than
that, and with another question, is embedded again."""


class LogJudge:
    """Judges each draft of a log as the validator would.

    Attributes:
        config: the mode, and the checks that are off.
    """

    __slots__ = ("_checks", "_embedder", "config")

    def __init__(self, config: QualityConfig, embedder: Embedder | None = None) -> None:
        """Finds the local models that the mode needs.

        Args:
            config: the mode, and the checks that are off; a model of the user's own is not asked.
            embedder: makes the vectors; by default all-MiniLM-L6-v2 as it is found here.

        Raises:
            ConfigurationError: a model is not on this machine; it says what to do.
        """
        self.config: Final = config
        self._embedder = embedder
        try:
            self._checks: LocalChecks | None = CascadeValidator(embedder).local_checks(config)
        except ConfigurationError as error:
            options = " ".join(f"--without {name}" for name in config.local_checks)
            raise ConfigurationError(f"{error}, and here {options}") from error

    async def drafts(
        self,
        rows: Sequence[ReplayRow],
        draft: PricedModel,
        verifier: PricedModel,
        cross_check: PricedModel | None = None,
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
    ) -> list[LoggedDraft]:
        """Judges the draft of each row.

        Args:
            rows: questions that all of the models answered.
            draft: whose answers are judged.
            verifier: who answers where a draft is rejected.
            cross_check: whose answers the drafts are compared with; `None` for nobody.
            on_progress: called with how many drafts the local models have looked at, and how many
                they will; not at all where they do not.

        Raises:
            ConfigurationError: a local model is not what it should be.
            UnknownPriceError: a model's price has no such rate.
        """
        texts = [self._text(row, row.answers[draft.name]) for row in rows]
        # What the text condemns is not shown to the local checks: as in the validator.
        asked = {
            (row.question, row.answers[draft.name].output)
            for row, text in zip(rows, texts, strict=True)
            if not text.rejected
        }
        found = await self._found(sorted(asked), on_progress)
        return [
            self._logged(
                row,
                text,
                None
                if text.rejected
                else found.get((row.question, row.answers[draft.name].output)),
                (draft, verifier, cross_check),
            )
            for row, text in zip(rows, texts, strict=True)
        ]

    def _text(self, row: ReplayRow, answer: RecordedAnswer) -> TextJudgement:
        return judge_text(
            row.question,
            answer.output,
            finish_reason=answer.finish_reason,
            without=self.config.without,
        )

    async def _found(
        self, asked: Sequence[tuple[str, str]], on_progress: Callable[[int, int], None]
    ) -> dict[tuple[str, str], LocalFindings]:
        """What the local checks say of each question and answer."""
        checks = self._checks
        found: dict[tuple[str, str], LocalFindings] = {}
        if checks is None:
            return found
        if self.config.local_checks:
            await checks.warm_up()
        shared = self._shared(asked)

        async def work() -> None:
            for (question, answer), vectors in shared:
                found[question, answer] = await checks.run(
                    ChatRequest("logged", (Message("user", question),)),
                    Completion(text=answer, finish_reason="stop"),
                    config=self.config,
                    vectors=vectors,
                )
                on_progress(len(found), len(asked))

        await asyncio.gather(*[work() for _ in range(_AT_ONCE)])
        return found

    def _shared(
        self, asked: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str, str], RequestVectors | None]]:
        """Gives each question and answer with vectors that it shares with its neighbours."""
        from cascadeflow.models.embedding import RequestVectors, SentenceModel  # noqa: PLC0415

        embedder = self._embedder
        if embedder is None and self.config.local_checks:
            embedder = SentenceModel.find()  # the one that the checks have found
        vectors, kept = None, 0
        for _, answers in groupby(asked, key=lambda pair: pair[0]):
            if embedder is not None and (vectors is None or kept >= _VECTORS_KEPT):
                vectors, kept = RequestVectors(embedder), 0
            for pair in answers:
                kept += 1
                yield pair, vectors

    def _logged(
        self,
        row: ReplayRow,
        text: TextJudgement,
        local: LocalFindings | None,
        models: tuple[PricedModel, PricedModel, PricedModel | None],
    ) -> LoggedDraft:
        draft, verifier, cross_check = models
        answer, verified = row.answers[draft.name], row.answers[verifier.name]
        agrees, opinion_cost = None, 0
        if cross_check is not None:
            other = row.answers[cross_check.name]
            opinion_cost = _cost(other, cross_check)
            # Who declined, or was cut off, does not disagree: as in `second_opinions`.
            if not judge_text(
                row.question, other.output, finish_reason=other.finish_reason
            ).rejected:
                agrees = same_final_answer(answer.output, other.output)
        doubts = local_doubts(local) if self.config.mode != "fast" else ()
        share = 1.0 if local is None else local.share
        return LoggedDraft(
            judged=JudgedDraft(
                group=row.question,
                log_odds=logit(text.probability * share),
                features=(*text.features, *doubts),
                agrees=agrees,
                good=answer.right,
            ),
            rejected=text.rejected or (local is not None and (local.failed or local.missing)),
            not_run=local is not None and local.missing,
            verifier_right=verified.right,
            draft_cost=_cost(answer, draft),
            verifier_cost=_cost(verified, verifier),
            opinion_cost=opinion_cost,
        )


def _cost(answer: RecordedAnswer, model: PricedModel) -> int:
    used = Usage(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
    return model.price.cost(used)
