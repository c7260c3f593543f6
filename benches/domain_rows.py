"""The rows that the domain detector may be fitted on, and those that judge it; their vectors.

What ships is fitted on the project's own training set (`domain_training/`) and on public rows
whose licence permits it: of `domain/domain` the `dev` rows of MIT and CC-BY sources, a capped share
of CLINC150's intents (CC-BY), TruthfulQA's questions and CRUX prompts (Apache-2.0), and user
queries of HaluEval and LLMBar (MIT), whose labels were given by reading them (`domain_labels.json`,
by the first twelve digits of the text's SHA-256; the texts stay where they are). Rows that equal a
row of the evaluation data are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascadeflow.types import DOMAINS

HERE = Path(__file__).parent
DATA = Path(os.environ.get("CASCADEFLOW_DATA", HERE.parents[1] / "shared/data"))
LABELS = tuple(sorted(DOMAINS))
OWN = "own"

Floats = NDArray[np.float32]

PER_INTENT = 8
"""CLINC150's rows taken of an intent: it has 120 paraphrases of each."""

CRUX_ROWS = 100

SCIENCES = ("astronomy", "biology", "chemistry", "physics")

CLINC = {
    "support": (
        "replacement_card_duration freeze_account application_status report_lost_card damaged_card "
        "card_declined report_fraud account_blocked pin_change order_status transactions balance "
        "bill_balance bill_due min_payment credit_limit credit_limit_change rewards_balance "
        "redeem_rewards new_card order_checks routing direct_deposit international_fees "
        "lost_luggage pay_bill transfer travel_notification spending_history expiration_date "
        "interest_rate apr"
    ),
    "finance": "improve_credit_score rollover_401k taxes",
    "translation": "translate",
    "factual": "definition",
    "math": "calculator",
    "general": (
        "meaning_of_life timer alarm flip_coin roll_dice change_language where_are_you_from "
        "user_name change_user_name next_song play_music reminder todo_list shopping_list calendar "
        "uber directions weather greeting goodbye thank_you yes no maybe repeat who_made_you "
        "what_can_i_ask_you do_you_have_pets are_you_a_bot how_old_are_you what_is_your_name "
        "change_accent change_ai_name change_volume change_speed whisper_mode find_phone make_call "
        "text smart_home recipe ingredient_substitution cook_time meal_suggestion "
        "restaurant_suggestion travel_suggestion restaurant_reservation book_hotel book_flight "
        "food_last oil_change_how jump_start tire_change schedule_meeting reset_settings "
        "sync_device cancel share_location time date next_holiday current_location traffic"
    ),
}
"""Which of CLINC150's intents are taken, and as what; the others are between two labels."""

TRUTHFUL = {
    "factual": (
        "Misconceptions,Conspiracies,Misquotations,Myths and Fairytales,History,Confusion: People,"
        "Confusion: Places,Language,Paranormal,Sociology,Mandela Effect,Fiction,Religion,Education"
    ),
    "legal": "Law",
    "medical": "Health,Nutrition",
    "finance": "Finance",
}
"""Which of TruthfulQA's categories are taken, and as what."""


FORMS = {
    "hard negatives": ("hard negative",),
    "other languages": ("language", "mixed", "non-native"),
    "exams": ("multiple choice", "exam", "true/false", "fill-in"),
    "documents": ("pasted", "document", "passage", "excerpt", "transcript", "e-mail", "few-shot"),
    "short": ("search", "very short", "title", "keyword", "utterance", "sms", "lower case"),
    "stories": ("forum", "story", "long", "role-play", "system prompt", "chat", "academic"),
}
"""Kinds of form, by words that the training set's free descriptions of forms hold."""


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled request.

    Attributes:
        text: the request.
        label: its domain.
        source: where it is from.
        family: sources that share their making; held out together.
        split: of evaluation rows, which.
        form: of the project's own rows, which of `FORMS` its description names first.
        also: of the project's own rows, further labels that fit.
    """

    text: str
    label: str
    source: str
    family: str
    split: str = ""
    form: str = ""
    also: tuple[str, ...] = ()


def read(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def own_rows() -> list[Row]:
    """The project's own training set."""
    found: dict[str, Row] = {}
    for path in sorted((HERE / "domain_training").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            form, also = _form(row["form"]), tuple(row["also"])
            made = Row(row["text"], row["label"], OWN, OWN, form=form, also=also)
            found.setdefault(row["text"], made)
    return list(found.values())


def evaluation_rows() -> list[Row]:
    """The rows that judge: `test` and `unseen_source`."""
    return [
        Row(row["text"], row["label"], row["source"], _family(row["source"]), row["split"])
        for row in read("domain/domain")
        if row["split"] != "dev"
    ]


def permitted_rows() -> list[Row]:
    """The public rows that may be fitted on."""
    judged = {_plain(row.text) for row in evaluation_rows()}
    rows = [
        Row(row["text"], row["label"], row["source"], _family(row["source"]))
        for row in read("domain/domain")
        if row["split"] == "dev" and _is_permitted(row["source"])
    ]
    clinc = {intent: label for label, names in CLINC.items() for intent in names.split()}
    taken: Counter[str] = Counter()
    for row in sorted(read("routes/clinc150_train"), key=lambda row: _digest(row["text"])):
        label, intent = clinc.get(row["label"]), row["label"]
        if label is not None and taken[intent] < PER_INTENT:
            taken[intent] += 1
            rows.append(Row(row["text"], label, "clinc150", "clinc"))
    truthful = {name: label for label, names in TRUTHFUL.items() for name in names.split(",")}
    for row in read("hallucination/truthfulqa"):
        if row["Category"] in truthful:
            label = truthful[row["Category"]]
            rows.append(Row(row["Question"], label, "truthfulqa", "truthfulqa"))
    crux = sorted(read("cascade/zeroeval_crux"), key=lambda row: _digest(row["question"]))
    rows += [Row(row["question"], "code", "crux", "crux") for row in crux[:CRUX_ROWS]]
    given = json.loads((HERE / "domain_labels.json").read_text(encoding="utf-8"))
    for source, name, field in (
        ("halueval", "hallucination/halueval_general", "user_query"),
        ("llmbar", "relevance/llmbar", "input"),
    ):
        by_digest = {each: label for label, them in given[source].items() for each in them}
        for row in read(name):
            label = by_digest.get(_digest(row[field])[:12])
            if label is not None:
                rows.append(Row(row[field], label, source, "instructions"))
    unique = {_plain(row.text): row for row in reversed(rows)}
    return [row for plain, row in reversed(unique.items()) if plain not in judged]


def _form(description: str) -> str:
    lowered = description.lower()
    return next(
        (name for name, words in FORMS.items() if any(map(lowered.__contains__, words))), ""
    )


def _is_permitted(source: str) -> bool:
    if source.startswith("mmlu_"):
        return not source.startswith("mmlu_pro_")
    return source.startswith("bbh_") or source in {
        "mbpp", "gsm8k", "pubmedqa", "banking77", "clinc_small_talk",
    }  # fmt: skip


def _family(source: str) -> str:
    if source.startswith("bbh_"):
        return "bbh"
    if source.startswith("mmlu_"):
        return "mmlu_science" if source.endswith(SCIENCES) else "mmlu_law"
    return "clinc" if source.startswith("clinc") else source


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def vectors(texts: list[str], cache: Path | None = None) -> Floats:
    """The texts' vectors by all-MiniLM-L6-v2; see `layered_vectors`."""
    return layered_vectors(texts, cache)[:, :DIMENSION]


def layered_vectors(texts: list[str], cache: Path | None = None) -> Floats:
    """The texts' vectors, those of the inner layer behind them, from a file as far as it has them.

    Args:
        texts: what to embed.
        cache: an `.npz` that vectors are kept in from run to run; none are kept without.
    """
    from cascadeflow.models.embedding import SentenceModel  # noqa: PLC0415 - the rows do without

    known: dict[str, Floats] = {}
    if cache is not None and cache.exists():
        held = np.load(cache)
        known = dict(zip(held["digests"].tolist(), held["layered"], strict=True))
    digests = [_digest(text)[:20] for text in texts]
    missing = {each: text for each, text in zip(digests, texts, strict=True) if each not in known}
    if missing:
        model = SentenceModel.find()
        ordered = sorted(missing.items(), key=lambda pair: len(pair[1]))
        for at in range(0, len(ordered), 64):
            part = ordered[at : at + 64]
            rows = model.embed_layered([text for _, text in part])
            numbers = np.frombuffer(rows.tobytes(), np.float32).reshape(len(rows), -1)
            known.update(zip([each for each, _ in part], numbers, strict=True))
        if cache is not None:
            np.savez(cache, digests=np.array(list(known)), layered=np.stack(list(known.values())))
    return np.stack([known[each] for each in digests])


DIMENSION = 384
"""Numbers in a sentence's vector; as many follow that are its inner layer's."""

RULES = "rules: "
"""How the names of what the rules' weights add up to begin."""


def structural(names: tuple[str, ...], told: Floats) -> Floats:
    """The evidence with zeros for what the rules' weights add up to.

    They are fitted on the same rows, and a head would trust them more than they deserve.
    """
    kept: Floats = told * np.array([not name.startswith(RULES) for name in names], np.float32)
    return kept


def evidence(texts: list[str]) -> tuple[tuple[str, ...], Floats]:
    """The rules' evidence for the texts, and its names."""
    from cascadeflow.domains.rules import RuleLayer  # noqa: PLC0415 - the rows do without

    layer = RuleLayer.builtin()
    return layer.evidence_names, np.array([layer.evidence(text) for text in texts], np.float32)
