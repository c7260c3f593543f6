"""A provider on this machine that answers with what real models once answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from cascadeflow.testing.behaviour import Behaviour, Failure, Reply
from cascadeflow.testing.model import SimulatedModel
from cascadeflow.testing.provider import SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cascadeflow.clock import Clock
    from cascadeflow.testing.behaviour import Ask

__all__ = ["RecordedAnswer", "RecordedAnswersProvider"]


class RecordedAnswer(NamedTuple):
    """What a model answered to a question, and the tokens its provider counted.

    Attributes:
        text: the visible text.
        output_tokens: all output.
        prompt_tokens: all input.
        finish: why it ended: `stop`, or `length` when a token limit had cut it.
    """

    text: str
    output_tokens: int
    prompt_tokens: int
    finish: Literal["stop", "length"] = "stop"


class RecordedAnswersProvider(SimulatedProvider):
    """A `SimulatedProvider` whose answers and usage figures are recorded ones.

    The question is the text of the last user message, letter by letter. One that is not recorded
    for the model is a 404 with the code `answer_not_recorded`. A request with `max_tokens` under
    the recorded output gets the same share of the text, ended by `length`. Tools, stop sequences
    and response formats do not change what was recorded.
    """

    def __init__(
        self,
        answers: Mapping[tuple[str, str], RecordedAnswer | tuple[str, int, int]],
        *,
        models: Iterable[SimulatedModel] = (),
        seed: int = 0,
        clock: Clock | None = None,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        max_body: int = 16 * 1024 * 1024,
        keep_requests: int | None = 10_000,
    ) -> None:
        """Sets the provider up; it listens once it is entered.

        Args:
            answers: by model and question.
            models: how fast and how reliable models are, and what they cost; one that is not named
                here answers at once and never fails.
            seed: decides the latencies and errors that are drawn.
            clock: as for a `SimulatedProvider`, and so are the rest.
            api_key: the only key it takes; `None` takes any, and none.
            host: the address it listens on.
            port: the port it listens on; 0 takes any free one.
            max_body: the largest request body in bytes.
            keep_requests: how many of the newest requests are kept; `None`: all.
        """
        self._answers: dict[str, dict[str, RecordedAnswer]] = {}
        for (name, question), answer in answers.items():
            self._answers.setdefault(name, {})[question] = RecordedAnswer(*answer)
        known = {model.name: model for model in models}
        super().__init__(
            [*known.values(), *(SimulatedModel(n) for n in self._answers if n not in known)],
            seed=seed,
            clock=clock,
            api_key=api_key,
            host=host,
            port=port,
            max_body=max_body,
            keep_requests=keep_requests,
        )

    def _behaviour(self, model: SimulatedModel) -> Behaviour:
        return _RecordedBehaviour(model, self._answers.get(model.name, {}), seed=self._seed)


class _RecordedBehaviour(Behaviour):
    """Answers from the table; everything else is a simulated model's."""

    __slots__ = ("_answers",)

    def __init__(
        self, model: SimulatedModel, answers: Mapping[str, RecordedAnswer], *, seed: int
    ) -> None:
        super().__init__(model, seed=seed)
        self._answers = answers

    def reply(self, ask: Ask, *, repeat: int) -> Reply | Failure:  # noqa: ARG002 - a recording never varies
        answer = self._answers.get(ask.question)
        if answer is None:
            start = ask.question[:80]
            message = f"no answer of {self.model.name} is recorded for this question: {start!r}"
            return Failure(status=404, message=message, code="answer_not_recorded")
        text, tokens = answer.text, answer.output_tokens
        cut = ask.max_tokens is not None and tokens > ask.max_tokens
        if cut and ask.max_tokens is not None:
            text, tokens = text[: len(text) * ask.max_tokens // tokens], ask.max_tokens
        return Reply(
            text=text,
            finish="length" if cut else answer.finish,
            prompt_tokens=answer.prompt_tokens,
            output_tokens=tokens,
        )
