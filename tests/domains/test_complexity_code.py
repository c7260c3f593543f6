"""The code analyzer, beside Python's own parser and on code that people paste."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.domains.complexity import assess, measure_code
from cascadeflow.types import Message

if TYPE_CHECKING:
    from cascadeflow.domains.complexity import CodeMetrics

ROOT = Path(__file__).parents[2]
NAMES = ("functions", "classes", "branches", "loops", "cyclomatic", "nesting", "identifiers")
LANGUAGES = (
    *("python", "javascript", "typescript", "java", "c", "c++", "c#", "go", "rust", "php", "ruby"),
    *("kotlin", "swift", "sql", "shell", "html", "css", "json", "yaml", "other"),
)
BROKEN = st.text(alphabet=" \n\t\\(){}[]<>:;=\"'`#*/-$?&|.,aif0é")


def code_of(text: str) -> CodeMetrics:
    found = assess([Message("user", text)]).code
    assert found is not None
    return found


@pytest.fixture(scope="module")
def command() -> Any:
    """`benches/code_metrics.py`, whose parser's counts are the oracle."""
    path = ROOT / "benches" / "code_metrics.py"
    spec = importlib.util.spec_from_file_location("code_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["code_metrics"] = module
    spec.loader.exec_module(module)
    return module


def test_the_standard_library_is_counted_as_its_own_parser_counts_it(command: Any) -> None:
    found = list(command.pairs(25))
    assert len(found) > 40
    for path, expected, ours in found:
        assert ours.functions == expected.functions, path
        assert ours.nesting == expected.nesting, path
    for name in NAMES:
        parser = [getattr(expected, name) for _, expected, _ in found]
        mine = [getattr(ours, name) for _, _, ours in found]
        assert command.spearman(parser, mine) > 0.99, name


def test_the_oracle_tells_counts_apart(command: Any) -> None:
    counts = command.of_parser("def f(x):\n    if x:\n        pass\n    elif y: pass\n")
    assert (counts.functions, counts.branches, counts.nesting) == (1, 2, 2)


@given(BROKEN, st.sampled_from(LANGUAGES))
def test_no_code_is_too_broken_to_be_measured(source: str, language: str) -> None:
    found = measure_code(source, language=language)
    assert found.language == language
    assert found.cyclomatic == 1 + found.branches + found.loops
    assert found.lines + found.comment_lines <= source.count("\n") + 1
    assert 0.0 <= found.comment_share <= 1.0


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("bit", ["(", "/[", "'\\", '"""', "`${", "{a;", "if x:\n ", "x.y(", "<a "])
def test_a_megabyte_of_one_thing_is_measured(language: str, bit: str) -> None:
    source = bit * (200_000 // len(bit))
    assert measure_code(source, language=language).lines >= 0
    assert 0 <= assess([Message("user", source)]).score <= 1


def test_a_fence_says_the_language() -> None:
    found = code_of("Why?\n```ts\nlet a = (b) => b || 1\n```")
    assert (found.language, found.functions, found.branches) == ("typescript", 1, 1)
    assert found.constructs == ("closures",)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "what's wrong\n\ndef f(a):\n    for b in a:\n        print(b)\n\nit never ends"),
        ("java", "Review: public int f(List<String> a) throws IOException { return a.size(); }"),
        ("sql", "this is slow: SELECT a FROM b JOIN c ON b.i = c.i WHERE d > 5"),
        ("go", "func f(a []int) error {\n\tif err != nil {\n\t\treturn err\n\t}\n\treturn nil\n}"),
        ("rust", "fn f(a: &mut Vec<u8>) -> Option<u8> {\n    let mut b = a.pop();\n    b\n}"),
        ("c++", "#include <vector>\nint main() {\n  std::vector<int> a;\n}\nwhy no output"),
        ("javascript", "fix\n\n    const a = await fetch(b);\n    console.log(a);\n\nplease"),
        ("json", '{"a": [1, 2],\n "b": {"c": null}}\nis this valid?'),
        ("c#", "using System;\npublic class A { public int B { get; set; } }"),
        ("shell", "explain\n\nfor f in *.txt; do\n  echo \"$f\"\ndone"),
        ("html", "<div class=\"a\">\n<p>b</p>\n</div>\nmake it blue"),
        ("php", "<?php\nfunction f($a) {\n  echo $a;\n}\nwhy is it blank"),
    ],
)  # fmt: skip
def test_pasted_code_is_found_and_its_language_guessed(language: str, text: str) -> None:
    found = code_of(text)
    assert found.language == language
    assert found.lines >= 1


@pytest.mark.parametrize(
    "text",
    [
        "Solve this:\nx = 5\ny = 2x + 3\nWhat is y?",
        "If you had one wish, what would it be:",
        "    A poem\n    is indented\n    by four spaces",
        "I bought: eggs (12), milk; and bread.",
        "Name: Juniper\nAge: 34\nSpeech: clipped",
        "请证明质数有无穷多个。",
        "Select the right answer from the list where each is given.",
        "",
    ],
)
def test_prose_is_not_taken_for_code(text: str) -> None:
    assert assess([Message("user", text)]).code is None


def test_pieces_of_code_are_measured_together() -> None:
    found = code_of("```py\ndef f(): pass\n```\nand\n```sql\nSELECT a FROM b JOIN c USING (i)\n```")
    assert (found.blocks, found.functions, found.joins, found.lines) == (2, 1, 1, 2)


def test_more_tangled_code_is_harder() -> None:
    plain = "Review:\n```python\n" + "a = b\n" * 12 + "```"
    tangled = """Review:
```python
async def f(n):
    try:
        for a in n:
            if a and b:
                while c or d:
                    await f(n - 1)
    except E:
        raise
    x = [y for y in z if y]
    g = lambda: re.match(p, q)
    yield x
```"""
    easy, hard = (assess([Message("user", text)]) for text in (plain, tangled))
    assert hard.score > easy.score
    assert "code" in hard.reasons


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(ValueError, match='no such language: "klingon"; leave it out'):
        measure_code("x", language="klingon")
