"""Who gets which variant: the same user the same one, in every process and every version.

A *unit* is a user, or a request that has none. One hash is made of it, and of that a number for
each purpose:

```
D   = SHA-256("cascadeflow experiment 1" 00 EXPERIMENT 00 KIND ID)
K_p = SHA-256("cascadeflow experiment 1" 00 EXPERIMENT 00 00 p), its lowest bit set to 1
U_p = (k + 1/2) / 2^52, k the highest 52 bits of D * K_p modulo 2^256
```

All text is UTF-8, 00 is a zero byte, hashes are read as big-endian integers of 256 bits; KIND is
`u` for a user and `r` for a request; p is `share`, or `variant:` and a variant's name. D is uniform
and K_p odd, so each U_p is uniform; and as the K are hashes, no U_p says anything of another (a
lattice with random multipliers: Knuth, The Art of Computer Programming 2, 3.3.4).

* A unit takes part where U_share is below the experiment's share: raising the share brings users
  in and moves nobody.
* Of the variants it gets the one with the least -ln(U_variant) / weight: weighted rendezvous
  hashing (Thaler and Ravishankar 1998, with the weights of Efraimidis and Spirakis 2006). A variant
  is drawn with the probability of its weight, their order does not count, and when weights change,
  a user moves only if its own variant lost against the one it moves to. Where there are two
  variants, or a single weight is changed, that is as few users as any rule could move.
* The highest 16 bytes of D name it in the store, where users' own ids never are.
"""

from __future__ import annotations

import hashlib
from math import log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Draw"]

_PREFIX: Final = "cascadeflow experiment 1"
_MASK: Final = (1 << 256) - 1
_SHIFT: Final = 256 - 52
_SCALE: Final = 2.0**-52
_NAME_BYTES: Final = 16


class Draw:
    """The draw of one experiment; immutable.

    >>> draw = Draw("checkout", [("control", 1.0), ("treatment", 1.0)])
    >>> [draw.of(name, "")[1] for name in ("ada", "bob", "cyd", "dee")]
    ['control', 'treatment', 'control', 'treatment']
    """

    __slots__ = ("_begun", "_equal", "_share", "_share_factor", "_variants")

    def __init__(
        self, experiment: str, weights: Sequence[tuple[str, float]], *, share: float = 1.0
    ) -> None:
        """Prepares the hashes.

        Args:
            experiment: its name.
            weights: the variants' names and weights.
            share: the share of units that take part, 0 to 1.
        """
        self._begun = hashlib.sha256(f"{_PREFIX}\0{experiment}\0".encode())
        self._share = share
        self._share_factor = self._factor("share")
        self._variants = [
            (name, 1.0 / weight, self._factor(f"variant:{name}")) for name, weight in weights
        ]
        self._equal = len({weight for _, weight in weights}) == 1

    def of(self, user_id: str | None, request_id: str) -> tuple[bytes, str] | None:
        """Gives a unit's name in the store and its variant; `None` where it takes no part."""
        hashed = self._begun.copy()
        text = "r" + request_id if user_id is None else "u" + user_id
        hashed.update(text.encode("utf-8", "surrogatepass"))
        digest = hashed.digest()
        whole = int.from_bytes(digest, "big")
        if self._share < 1.0:
            drawn = (((whole * self._share_factor & _MASK) >> _SHIFT) + 0.5) * _SCALE
            if drawn >= self._share:
                return None
        chosen = ""
        if self._equal:  # then the greatest number has the least score
            greatest = -1
            for name, _, factor in self._variants:
                number = (whole * factor & _MASK) >> _SHIFT
                if number > greatest:
                    greatest, chosen = number, name
            return digest[:_NAME_BYTES], chosen
        least = float("inf")
        for name, inverse, factor in self._variants:
            drawn = (((whole * factor & _MASK) >> _SHIFT) + 0.5) * _SCALE
            score = -log(drawn) * inverse
            if score < least:
                least, chosen = score, name
        return digest[:_NAME_BYTES], chosen

    def _factor(self, purpose: str) -> int:
        hashed = self._begun.copy()
        hashed.update(f"\0{purpose}".encode())
        return int.from_bytes(hashed.digest(), "big") | 1
