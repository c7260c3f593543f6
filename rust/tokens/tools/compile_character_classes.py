r"""Asks tiktoken's own regular expressions what each character is, and writes down the answers.

The splitter must agree with the Unicode version of the regex engine that tiktoken was built with,
unassigned code points included, so that engine itself is asked: an encoding whose pattern is one
character class gives back just the characters that are in it.

The file is a two-stage table, one byte of flags (below, as in `src/characters.rs`) per character:

    8,704 bytes     for each 128 code points, the number of their block
    the rest        the distinct blocks, 128 bytes each

    python rust/tokens/tools/compile_character_classes.py            # writes rust/tokens/data
    python rust/tokens/tools/compile_character_classes.py --check    # compares, writes nothing
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import tiktoken

FILE = Path(__file__).parent.parent / "data" / "character_classes.bin"
FLAGS = {
    1: r"\p{L}",
    2: r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]",
    4: r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]",
    8: r"\p{N}",
    16: r"\s",
    32: r"[\r\n]",
    64: r"[^\s\p{L}\p{N}]",
}
SCALARS = [*range(0xD800), *range(0xE000, 0x110000)]
BLOCK = 128


def members(character_class: str) -> list[int]:
    """Gives the code points that tiktoken's regex engine finds in a class."""
    single_bytes = {bytes([byte]): byte for byte in range(256)}
    probe = tiktoken.Encoding(
        "probe", pat_str=character_class, mergeable_ranks=single_bytes, special_tokens={}
    )
    found = bytes(probe.encode_ordinary("".join(map(chr, SCALARS))))
    return [ord(character) for character in found.decode()]


def compile_table() -> bytes:
    """Writes the table in the form that this module's docstring describes."""
    flags = bytearray(0x110000)
    for flag, character_class in FLAGS.items():
        for code_point in members(character_class):
            flags[code_point] |= flag
    numbers: dict[bytes, int] = {}
    stage = bytearray()
    for start in range(0, len(flags), BLOCK):
        block = bytes(flags[start : start + BLOCK])
        stage.append(numbers.setdefault(block, len(numbers)))
    return bytes(stage) + b"".join(numbers)


def main() -> int:
    """Writes or checks the table; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    compiled = compile_table()
    if parser.parse_args().check:
        same = FILE.read_bytes() == compiled
        print(f"{FILE.name}: {'as committed' if same else 'DIFFERS'}")
        return int(not same)
    FILE.write_bytes(compiled)
    print(f"{FILE.name}: {len(compiled):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
