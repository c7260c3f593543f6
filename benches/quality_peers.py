"""How well drafts are judged, beside other validators on the same rows.

    python benches/quality_peers.py [--rows N] [--json FILE] [--write docs/quality.md]

Reads the sets of `CASCADEFLOW_DATA` (default: `shared/data` beside the repository) in the forms of
`cascadeflow quality eval`, judges every text in mode `fast` and in mode `balanced`, and shows the
same texts to cascadeflow 1.2.0 of PyPI (`cascadeflow_peer_quality.py` says how it is used) and, the
toxic ones, to alt-profanity-check. Both are installed from PyPI into an environment that is removed
afterwards; `--python` takes one that has them, and numpy.

Where judges stand:

* `fast` and `balanced`: the whole probability, and what was accepted.
* `relevance`, `grounding`, `toxicity`: that check of `balanced` alone, with no text rule before it.
* `validator`, `confidence`, `similarity`: of cascadeflow 1.2.0. It takes a question and an answer:
  where there are documents they stand before the question.
* `shorter`: the shorter one of two is better. A yardstick, no judge.

Good texts should score above faulty ones. AUPRC and F1 are of finding the faulty: by a low score,
and by what did not pass at each judge's own threshold. Intervals: 500 bootstraps over questions.
Large sets are drawn from (`SETS`); `--rows 0` takes all. It takes 15 minutes of processor time;
`--vectors CACHE.npz` keeps the sentence vectors for a second run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from peer_environment import install
from quality_peer_tables import put, reckoned, tables
from quality_rows import DATA, DIMENSION, CachedEmbedder

from cascadeflow.cli.quality.cases import CaseSet
from cascadeflow.cli.quality.figures import Scored
from cascadeflow.cli.quality.forms import read_sets
from cascadeflow.cli.quality.planting import planted
from cascadeflow.cli.quality.scoring import DECISION, judge_all, measured
from cascadeflow.config import TEXT_CHECKS, QualityConfig
from cascadeflow.errors import CascadeFlowError
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.quality.validator import CascadeValidator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cascadeflow.cli.quality.cases import Case

PACKAGES = ("cascadeflow==1.2.0", "alt-profanity-check==1.9.1", "numpy")
HERE = Path(__file__).parent
PROFANE_FROM = 0.5
"""alt-profanity-check's own limit."""


@dataclass(frozen=True, slots=True)
class Source:
    """Files that make up one set.

    Attributes:
        title: how it is called.
        files: their names below the data's folder.
        rows: so many rows of each are drawn, at most; `None` for all. Of recorded answers a row is
            a question with every model's answer.
        faults: whether faults are planted in right answers, one of each question, and only these
            pairs are judged.
    """

    title: str
    files: tuple[str, ...]
    rows: int | None = None
    faults: bool = False


GSM8K = ("cascade/zeroeval_gsm8k", "cascade/routellm_gsm8k")
SETS = (
    Source("GSM8K, recorded", GSM8K, 300),
    Source("GSM8K", GSM8K, faults=True),
    Source("CRUX, recorded", ("cascade/zeroeval_crux",), 75),
    Source("TruthfulQA", ("hallucination/truthfulqa",), 150),
    Source("HaluEval general", ("hallucination/halueval_general",), 500),
    Source("HaluEval-QA", ("hallucination/halueval_qa",)),
    Source("LLMBar", ("relevance/llmbar",)),
    Source("QAGS CNN/DM", ("hallucination/qags_cnndm",)),
    Source("QAGS XSum", ("hallucination/qags_xsum",)),
    Source("OpenAI moderation", ("toxicity/openai_moderation",)),
    Source("SURGE", ("toxicity/surge",)),
    Source("ToxicChat", ("toxicity/toxicchat_train_NONCOMMERCIAL",), 800),
    Source("HateCheck", ("toxicity/hatecheck",)),
    Source("XSTest", ("toxicity/xstest",)),
)

Said = dict[str, list[Scored]]
"""By judge, what it said of a set's texts, in their order."""


def read_source(source: Source, rows: int | None, seed: int) -> list[CaseSet]:
    """Reads one set of the data, which may be several.

    Args:
        source: which.
        rows: so many of each file instead of its own number; 0 for all; `None` for its own.
        seed: decides which are drawn, and what is planted.
    """
    limit = source.rows if rows is None else rows or None
    paths = [DATA / f"{name}.jsonl.gz" for name in source.files]
    read = [read_sets(path, limit=limit, seed=seed) for path in paths]
    if read[0][0].models:
        cases = tuple(chain.from_iterable(sets[0].cases for sets in read))
        if source.faults:
            return planted(source.title, cases, seed=seed)
        return [CaseSet(name=source.title, kind="answers", cases=cases, models=True)]
    stem = paths[0].name.removesuffix(".jsonl.gz")
    return [replace(each, name=source.title + each.name.removeprefix(stem)) for each in read[0]]


def ours(sets: Sequence[CaseSet], embedder: CachedEmbedder) -> dict[str, Said]:
    """Judges every set in both modes, and by the single checks of `balanced`."""
    validator = CascadeValidator(embedder)
    found: dict[str, Said] = {each.name: {} for each in sets}
    for name, config in (
        ("fast", QualityConfig.fast()),
        ("balanced", QualityConfig.balanced()),
        ("", QualityConfig.balanced(without=TEXT_CHECKS)),
    ):
        wanted = [each for each in sets if not name or each.kind != "toxicity"]
        judged = asyncio.run(judge_all(wanted, validator, config))
        for each in wanted:
            for measure, taken in measured(each, judged).items():
                if (measure == DECISION) == bool(name):
                    found[each.name][name or measure] = list(taken.rows)
        embedder.save()
        tell(f"judged by {name or 'the checks alone'}")
    return found


def asked_text(case: Case) -> str:
    """The request as one text, documents first."""
    return "\n\n".join(message.text for message in case.messages if message.text)


def theirs(
    sets: Sequence[CaseSet], embedder: CachedEmbedder, python: Path
) -> tuple[dict[str, Said], dict[str, str]]:
    """What the peers say of every set, each in its own process; and their versions."""
    answers = unique(sets, toxic=False)
    texts = unique(sets, toxic=True)
    pairs = [(asked_text(case), case.answer) for case in answers]
    known = list(dict.fromkeys(chain.from_iterable(pairs)))
    vectors = np.frombuffer(embedder.embed(known).tobytes(), np.float32).reshape(-1, DIMENSION)
    with tempfile.TemporaryDirectory() as folder:
        given, kept, found = (Path(folder) / name for name in ("j.json", "v.npy", "s.json"))
        asked = [[*pair, case.finish_reason] for pair, case in zip(pairs, answers, strict=True)]
        held = {"answers": asked, "texts": [case.answer for case in texts], "embedded": known}
        given.write_text(json.dumps(held), encoding="utf-8")
        np.save(kept, vectors)
        child(python, "cascadeflow_peer_quality.py", str(given), str(kept), str(found))
        told = json.loads(found.read_text(encoding="utf-8"))
    tell("judged by cascadeflow of PyPI")
    profane = json.loads(
        child(python, "toxicity_peer.py", given=json.dumps([case.answer for case in texts]))
    )
    tell("judged by alt-profanity-check")
    for words, score in zip(told["texts"], profane["scores"], strict=True):
        words["alt-profanity-check"] = [1.0 - score, score < PROFANE_FROM]
    judged = dict(zip(answers, told["answers"], strict=True))
    judged |= zip(texts, told["texts"], strict=True)
    versions = {"cascadeflow": told["version"], "alt-profanity-check": profane["version"]}
    return {each.name: scored(each, judged) for each in sets}, versions


def scored(
    cases: CaseSet, judged: Mapping[Case, Mapping[str, tuple[float, bool]]]
) -> dict[str, list[Scored]]:
    """What each judge said of a set: of every text a score and whether it passed."""
    found: Said = {}
    for case in cases.cases:
        for judge, (score, passed) in judged[case].items():
            row = Scored(case.key, case.part, case.good, score, passed)
            found.setdefault(judge, []).append(row)
    return found


def shorter(cases: CaseSet) -> list[Scored]:
    """A yardstick for pairs."""
    return [
        Scored(case.key, case.part, case.good, -float(len(case.answer)), passed=True)
        for case in cases.cases
    ]


def unique(sets: Sequence[CaseSet], *, toxic: bool) -> list[Case]:
    """Every case once: those whose toxicity alone is known, or the others."""
    some = (each.cases for each in sets if (each.kind == "toxicity") == toxic)
    return list(dict.fromkeys(chain.from_iterable(some)))


def child(python: Path, script: str, *arguments: str, given: str | None = None) -> str:
    """Runs one of these scripts by another interpreter; what it complains of ends this one."""
    # -I: this folder is not looked at, nor is the source tree, whose package has the same name.
    command = [str(python), "-I", str(HERE / script), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-2_000:]}")
    return done.stdout


def tell(words: str) -> None:
    """Says how far it is, beside what is printed."""
    print(f"{time.perf_counter() - BEGAN:6.0f} s  {words}", file=sys.stderr, flush=True)


BEGAN = time.perf_counter()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rows", type=int, help="so many rows of each file at most; 0 for all")
    options.add_argument("--seed", type=int, default=0, help="of what is drawn and planted")
    options.add_argument("--json", type=Path, help="write every figure to this file")
    options.add_argument(
        "--write", type=Path, help="put the tables into this page, docs/quality.md"
    )
    options.add_argument("--vectors", type=Path, help="keep vectors in this .npz from run to run")
    options.add_argument("--python", type=Path, help=f"a Python that has {', '.join(PACKAGES)}")
    given = options.parse_args()
    missing = [
        name
        for source in SETS
        for name in source.files
        if not (DATA / f"{name}.jsonl.gz").is_file()
    ]
    if missing:
        sys.exit(f"{DATA} has no {', '.join(missing)}: say where they are with CASCADEFLOW_DATA")
    try:
        SentenceModel.find()
    except CascadeFlowError as error:
        sys.exit(f"mode balanced needs a sentence model: {error}")
    sets = list(chain.from_iterable(read_source(each, given.rows, given.seed) for each in SETS))
    embedder = CachedEmbedder(given.vectors)
    with tempfile.TemporaryDirectory() as folder:
        python = given.python or install(Path(folder), *PACKAGES)
        tell(f"read {len(sets)} sets")
        said = ours(sets, embedder)
        peers, versions = theirs(sets, embedder, python)
        embedder.save()
    results = []
    for each in sets:
        judges = said[each.name] | peers[each.name]
        if each.kind == "pairs":
            judges["shorter"] = shorter(each)
        results.append(reckoned(each, judges, seed=given.seed))
    tell("reckoned")
    beside = " and ".join(f"{name} {version}" for name, version in versions.items())
    told = f"{time.strftime('%Y-%m-%d')}, beside {beside}:\n\n{tables(results)}"
    print(told)
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        given.write.write_text(put(page, told), encoding="utf-8")
    if given.json is not None:
        values: dict[str, Any] = {"peers": versions, "seed": given.seed, "rows": given.rows}
        values["sets"] = [each.to_dict() for each in results]
        given.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
