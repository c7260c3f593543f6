"""How near the code analyzer's counts come to those of Python's own parser.

    python benches/code_metrics.py          # every tenth file of the standard library
    python benches/code_metrics.py 1        # every file

Functions, classes, branches, loops and nesting are compared with `ast`, different names with
`tokenize`. Prints for each the share of files with the same number, and Spearman's rank correlation
over the files.
"""

from __future__ import annotations

import ast
import io
import keyword
import statistics
import sys
import sysconfig
import token
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeflow.domains.complexity import measure_code

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BLOCKS = (
    *FUNCTIONS, *LOOPS, ast.ClassDef, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.TryStar,
    ast.Match, ast.match_case,
)  # fmt: skip


@dataclass(slots=True)
class Counts:
    """What is compared."""

    functions: int = 0
    classes: int = 0
    branches: int = 0
    loops: int = 0
    cyclomatic: int = 1
    nesting: int = 0
    identifiers: int = 0


def of_parser(source: str) -> Counts:
    """The counts by `ast` and `tokenize`.

    Raises:
        SyntaxError: it is not Python.
    """
    counts = Counts()
    waiting: list[tuple[ast.AST, int]] = [(ast.parse(source), 0)]
    while waiting:
        node, depth = waiting.pop()
        counts.functions += isinstance(node, FUNCTIONS)
        counts.classes += isinstance(node, ast.ClassDef)
        counts.branches += branches(node)
        counts.loops += isinstance(node, (*LOOPS, ast.comprehension))
        depth += isinstance(node, BLOCKS)
        counts.nesting = max(counts.nesting, depth)
        waiting += [(child, depth - is_elif(node, child)) for child in ast.iter_child_nodes(node)]
    counts.cyclomatic = 1 + counts.branches + counts.loops
    counts.identifiers = len(set(names(source)))
    return counts


def branches(node: ast.AST) -> int:
    """How many ways a node adds."""
    match node:
        case ast.If() | ast.IfExp() | ast.ExceptHandler():
            return 1
        case ast.match_case():
            return 1 + (node.guard is not None)
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return len(node.ifs)
        case _:
            return 0


def is_elif(node: ast.AST, child: ast.AST) -> bool:
    """Whether the child is the `elif` of an `if`, which lies no deeper."""
    return (
        isinstance(node, ast.If)
        and isinstance(child, ast.If)
        and node.orelse == [child]
        and child.col_offset == node.col_offset
    )


def names(source: str) -> Iterator[str]:
    """Names outside strings, those within formatted strings left out."""
    start, end = getattr(token, "FSTRING_START", -1), getattr(token, "FSTRING_END", -1)
    depth = 0
    for found in tokenize.generate_tokens(io.StringIO(source).readline):
        depth += (found.type == start) - (found.type == end)
        if found.type == token.NAME and not depth and not keyword.iskeyword(found.string):
            yield found.string


def pairs(step: int) -> Iterator[tuple[Path, Counts, Counts]]:
    """Every so many-th file of the standard library with the parser's counts and ours."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in library.rglob("*.py") if "site-packages" not in path.parts]
    for path in sorted(files)[::step]:
        try:
            source = path.read_text(encoding="utf-8")
            expected = of_parser(source)
        except (SyntaxError, ValueError, RecursionError):
            continue  # Tests of the parser itself, and other encodings.
        found = measure_code(source, language="python")
        ours = Counts(*(getattr(found, name) for name in Counts.__slots__))
        yield path, expected, ours


def spearman(a: list[int], b: list[int]) -> float:
    """Spearman's rank correlation."""
    return statistics.correlation(ranks(a), ranks(b))


def ranks(values: list[int]) -> list[float]:
    """Ranks, ties sharing their mean."""
    places = defaultdict(list)
    for place, value in enumerate(sorted(values)):
        places[value].append(place)
    return [statistics.mean(places[value]) for value in values]


def main() -> None:
    """Compares, prints."""
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    found = list(pairs(step))
    print(f"{len(found)} files of the standard library of Python {sys.version.split()[0]}")
    for name in Counts.__slots__:
        expected = [getattr(parser, name) for _, parser, _ in found]
        ours = [getattr(counts, name) for _, _, counts in found]
        same = sum(a == b for a, b in zip(expected, ours, strict=True))
        print(
            f"{name:<12} the same in {same / len(found):.1%}, rank {spearman(expected, ours):.4f}"
        )


if __name__ == "__main__":
    main()
