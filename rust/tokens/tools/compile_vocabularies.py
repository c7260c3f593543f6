"""Compiles OpenAI's published vocabularies into the compact files that the crate embeds.

A byte-pair vocabulary is a list of merges: every token of two bytes or more is the join of two
tokens of lower rank. The compact file stores just that, so it needs no decompressor, and reading it
builds the tokens' bytes as it goes:

    4 bytes     number of tokens, little-endian
    4 bytes     length of all tokens together, little-endian
    256 bytes   the single-byte tokens, in the order of their ranks 0..255
    the rest    for each rank from 256 on, the ranks of its left and its right half, each in as many
                bits as the rank minus one needs, least significant bit first

The published file has a line per token, `base64(token) rank`; as ranks are dense, it can be rebuilt
byte for byte from the compact one. `tests/tokens` does so and compares with the SHA-256 that
tiktoken's source states.

Run it where tiktoken finds its vocabulary files (`TIKTOKEN_CACHE_DIR`, or its own download):

    python rust/tokens/tools/compile_vocabularies.py            # writes rust/tokens/data
    python rust/tokens/tools/compile_vocabularies.py --check    # compares, writes nothing
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

from tiktoken_ext import openai_public

DATA = Path(__file__).parent.parent / "data"
VOCABULARIES = {
    "cl100k_base": openai_public.cl100k_base,
    "o200k_base": openai_public.o200k_base,
}


def halves(token: bytes, ranks: dict[bytes, int]) -> tuple[int, int]:
    """Merges a token's bytes, lowest rank first, until two parts are left: its last merge."""
    none = len(ranks)
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:  # noqa: PLR2004 - two halves
        joined = [ranks.get(a + b, none) for a, b in pairwise(parts)]
        best = min(range(len(joined)), key=joined.__getitem__)
        if joined[best] == none:
            raise ValueError(f"{token!r} cannot be built by merges")
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return ranks[parts[0]], ranks[parts[1]]


def compile_vocabulary(ranks: dict[bytes, int]) -> bytes:
    """Writes a vocabulary in the form that this module's docstring describes."""
    tokens = sorted(ranks, key=ranks.__getitem__)
    if [ranks[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError("the ranks are not dense")
    if any(len(token) != 1 for token in tokens[:256]):
        raise ValueError("the first 256 ranks are not the single bytes")
    joined = b"".join(tokens)
    out = bytearray(len(tokens).to_bytes(4, "little") + len(joined).to_bytes(4, "little"))
    out += joined[:256]
    bits = used = 0
    for rank in range(256, len(tokens)):
        width = (rank - 1).bit_length()
        for half in halves(tokens[rank], ranks):
            if half >= rank:
                raise ValueError(f"token {rank} is built of a later one, {half}")
            bits |= half << used
            used += width
        while used >= 8:  # noqa: PLR2004 - bits of a byte
            out.append(bits & 0xFF)
            bits >>= 8
            used -= 8
    if used:
        out.append(bits)
    return bytes(out)


def main() -> int:
    """Writes or checks each compact file; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = False
    for name, load in VOCABULARIES.items():
        path = DATA / f"{name}.merges"
        compiled = compile_vocabulary(load()["mergeable_ranks"])
        if check:
            same = path.read_bytes() == compiled
            stale |= not same
            print(f"{path.name}: {'as committed' if same else 'DIFFERS'}")
        else:
            path.write_bytes(compiled)
            print(f"{path.name}: {len(compiled):,} bytes")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
