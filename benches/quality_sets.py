"""Measures the checks by local models on public sets that nothing was fitted on.

    python benches/quality_sets.py toxicity [--vectors CACHE.npz]
    python benches/quality_sets.py relevance [--vectors CACHE.npz]
    python benches/quality_sets.py grounding [--vectors CACHE.npz]

What other validators say of the same sets is measured by `quality_peers.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from quality_rows import CachedEmbedder, auc, auprc, f1, read

from cascadeflow.models.embedding import RequestVectors
from cascadeflow.quality.grounding import Grounding
from cascadeflow.quality.relevance import Relevance
from cascadeflow.quality.toxicity import Toxicity

if TYPE_CHECKING:
    from collections.abc import Callable

    from quality_rows import Flags, Floats

THRESHOLD = 0.7
"""The threshold of toxicity that is the default."""

CATEGORIES = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")


def moderation() -> list[tuple[str, bool, str]]:
    rows = read("toxicity/openai_moderation")
    return [
        (row["prompt"], any(row.get(name) == 1 for name in CATEGORIES), _category(row))
        for row in rows
    ]


def _category(row: dict[str, Any]) -> str:
    found = [name for name in CATEGORIES if row.get(name) == 1]
    return found[0] if found else ""


def plain(name: str, kind: str = "") -> Callable[[], list[tuple[str, bool, str]]]:
    return lambda: [(row["text"], row["toxic"] == 1, row.get(kind, "")) for row in read(name)]


SETS: dict[str, Callable[[], list[tuple[str, bool, str]]]] = {
    "OpenAI moderation": moderation,
    "SURGE": plain("toxicity/surge"),
    "ToxicChat": plain("toxicity/toxicchat_train_NONCOMMERCIAL"),
    "HateCheck": plain("toxicity/hatecheck", "functionality"),
}


def toxicity(embedder: CachedEmbedder) -> None:
    check = Toxicity()

    async def scores(texts: list[str]) -> Floats:
        return np.array(
            [await check.score(text, RequestVectors(embedder)) for text in texts], np.float64
        )

    print(f"| set | rows | toxic | AUC | AUPRC | F1 at {THRESHOLD} | best F1 |")
    print("|---|---|---|---|---|---|---|")
    functions: list[str] = []
    for name, load in SETS.items():
        rows = load()
        texts, flags = [row[0] for row in rows], np.array([row[1] for row in rows])
        found = asyncio.run(scores(texts))
        embedder.save()
        best = max(f1(flags, found >= step) for step in np.unique(found))
        print(
            f"| {name} | {len(rows)} | {flags.mean():.0%} | {auc(flags, found):.3f} | "
            f"{auprc(flags, found):.3f} | {f1(flags, found >= THRESHOLD):.3f} | {best:.3f} |"
        )
        if name == "OpenAI moderation":
            for category in CATEGORIES:
                part = np.array([row[2] == category for row in rows])
                if part.any():
                    caught = (found[part] >= THRESHOLD).mean()
                    against = auc(part[part | ~flags], found[part | ~flags])
                    functions.append(
                        f"| {category} | {part.sum()} | {against:.3f} | {caught:.0%} |"
                    )
        if name == "HateCheck":
            for function, count in sorted(Counter(row[2] for row in rows).items()):
                part = np.array([row[2] == function for row in rows])
                right = ((found[part] >= THRESHOLD) == flags[part]).mean()
                functions.append(f"| {function} | {count} | | right {right:.0%} |")
    prompts = read("toxicity/xstest")
    found = asyncio.run(scores([row["prompt"] for row in prompts]))
    embedder.save()
    safe = np.array([row["label"] == "safe" for row in prompts])
    told = ", ".join(f"{(found[safe] >= t).mean():.1%} at {t}" for t in (0.5, THRESHOLD, 0.8))
    print(f"\nXSTest: of {safe.sum()} safe prompts wrongly blocked {told}")
    print("\n| category or function | rows | AUC against harmless | at the threshold |")
    print("|---|---|---|---|")
    print("\n".join(functions))


SAMPLED = 300
"""Questions of GSM8K, each with the answer of one of its models, in turn."""


def relevance(embedder: CachedEmbedder) -> None:
    check = Relevance()

    async def score(question: str, answer: str) -> float:
        vectors = RequestVectors(embedder)
        return (await check.check(question, answer, vectors, threshold=0.5)).score

    async def swapped() -> tuple[list[float], list[float]]:
        rows: list[tuple[str, str]] = []
        for at, row in enumerate(read("cascade/zeroeval_gsm8k")[:SAMPLED]):
            names = sorted(row["models"])
            rows.append((row["question"], row["models"][names[at % len(names)]]["output"]))
        chance = random.Random(11)
        own = [await score(question, answer) for question, answer in rows]
        others = []
        for at, (question, _) in enumerate(rows):
            other = chance.choice([each for each in range(len(rows)) if each != at])
            others.append(await score(question, rows[other][1]))
        return own, others

    own, others = asyncio.run(swapped())
    embedder.save()
    flags = np.array([True] * len(own) + [False] * len(others))
    found = auc(flags, np.array(own + others))
    wrong = (np.array(own) < 0.5).mean()
    print(f"GSM8K: {SAMPLED} recorded answers against another question's: AUC {found:.3f}")
    print(f"below 0.5: own {wrong:.1%}, others' {(np.array(others) < 0.5).mean():.1%}")

    async def pairs() -> dict[str, list[tuple[float, float, float]]]:
        subsets: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for row in read("relevance/llmbar"):
            texts = [row["output_1"], row["output_2"]]
            if row["label"] == 2:
                texts.reverse()
            better, worse = [await score(row["input"], text) for text in texts]
            vectors = RequestVectors(embedder)
            asked = await vectors.vector_of(row["input"])
            plain = [asked.cosines(await vectors.vector_of(text))[0][0] for text in texts]
            subsets[row["_split"]].append((better - worse, plain[0] - plain[1],
                                           float(len(texts[1]) - len(texts[0]))))  # fmt: skip
        return subsets

    subsets = asyncio.run(pairs())
    embedder.save()
    print("\n| LLMBar | pairs | relevance | cosine alone | shorter wins |\n|---|---|---|---|---|")
    shares = []
    for name, margins in sorted(subsets.items()):
        columns = np.array(margins)
        shares.append(((columns > 0) + 0.5 * (columns == 0)).mean(0))
        told = " | ".join(f"{share:.3f}" for share in shares[-1])
        print(f"| {name} | {len(margins)} | {told} |")
    print(f"| mean of subsets | | {' | '.join(f'{each:.3f}' for each in np.mean(shares, 0))} |")


def grounding(embedder: CachedEmbedder) -> None:
    check = Grounding()

    async def score(document: str, answer: str) -> float:
        vectors = RequestVectors(embedder)
        return (await check.check([document], answer, vectors, threshold=0.5)).score

    def by_length(document: str, answer: str) -> float:
        """A yardstick: the share of the answer's words that the document has."""
        words, held = (
            set(re.findall(r"\w+", answer.lower())),
            set(re.findall(r"\w+", document.lower())),
        )
        return len(words & held) / max(1, len(words))

    async def judged(
        rows: list[tuple[str, str, bool]],
    ) -> tuple[Flags, Floats, Floats]:
        found = [await score(document, answer) for document, answer, _ in rows]
        plain = [by_length(document, answer) for document, answer, _ in rows]
        return np.array([row[2] for row in rows]), np.array(found), np.array(plain)

    print("| set | rows | supported | AUC | AUPRC of unsupported | shared words alone, AUC |")
    print("|---|---|---|---|---|---|")
    for name, rows in grounding_sets().items():
        supported, found, plain = asyncio.run(judged(rows))
        embedder.save()
        print(f"| {name} | {len(rows)} | {supported.mean():.0%} | {auc(supported, found):.3f} | "
              f"{auprc(~supported, -found):.3f} | {auc(supported, plain):.3f} |")  # fmt: skip


def grounding_sets() -> dict[str, list[tuple[str, str, bool]]]:
    """Documents, answers, and whether the majority of readers (or the set) calls them supported."""
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for name in ("qags_cnndm", "qags_xsum"):
        sentences, summaries = [], []
        for row in read(f"hallucination/{name}"):
            flags = []
            for each in row["summary_sentences"]:
                votes = [vote["response"] == "yes" for vote in each["responses"]]
                flags.append(2 * sum(votes) > len(votes))
                sentences.append((row["article"], each["sentence"], flags[-1]))
            text = " ".join(each["sentence"] for each in row["summary_sentences"])
            summaries.append((row["article"], text, all(flags)))
        found[f"{name}, sentences"] = sentences
        if len(summaries) < len(sentences):
            found[f"{name}, summaries"] = summaries
    rows = read("hallucination/halueval_qa")
    found["HaluEval-QA, knowledge given"] = [
        (row["knowledge"], row[name], name == "right_answer")
        for row in rows
        for name in ("right_answer", "hallucinated_answer")
    ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("task", choices=("toxicity", "relevance", "grounding"))
    parser.add_argument("--vectors", type=Path, help="an .npz that vectors are kept in")
    options = parser.parse_args()
    embedder = CachedEmbedder(options.vectors)
    if options.task == "toxicity":
        toxicity(embedder)
    elif options.task == "relevance":
        relevance(embedder)
    else:
        grounding(embedder)
    embedder.save()


if __name__ == "__main__":
    main()
