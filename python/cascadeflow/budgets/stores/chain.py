"""The hash chain that the usage log is kept in.

Each row's hash is SHA-256 over the hash of the row before it and the row's canonical JSON; with a
key it is HMAC-SHA-256 over the same. The hash of the newest row thus stands for the whole log.

What an unkeyed chain cannot prove: whoever may write the file can change a row and compute all the
hashes after it anew. It finds damage, mistakes and careless changes, not a forger. A key
(`CASCADEFLOW_AUDIT_KEY`) that the forger does not have closes that; but neither kind shows that
the newest rows were taken away together with their head, or that an older copy of the file was put
back. Only a head noted elsewhere does (`cascadeflow audit verify --head`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AUDIT_KEY_VARIABLE", "Chain", "ChainRow", "ChainedLog", "Head"]

AUDIT_KEY_VARIABLE: Final = "CASCADEFLOW_AUDIT_KEY"

_SHORTEST_KEY: Final = 16
_GENESIS: Final = bytes(32)


class ChainRow(NamedTuple):
    """One row of the log as it is kept.

    Attributes:
        number: 1, 2, 3 …, without gaps.
        event_id: the event's id, as the index has it.
        at: the event's time as the index has it, microseconds since 1970.
        body: the event, canonical JSON.
        hash: what the chain says of this row and all before it.
    """

    number: int
    event_id: str
    at: int
    body: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row's number and hash: note it elsewhere, and no later forgery fits it.

    >>> str(Head(0, bytes(32)))[:12]
    '0:0000000000'
    """

    rows: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.rows}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what `str` gives.

        Raises:
            ConfigurationError: the text is no head.
        """
        rows, _, digest = text.strip().partition(":")
        if rows.isascii() and rows.isdigit() and len(digest) == 2 * len(_GENESIS):
            try:
                return cls(int(rows), bytes.fromhex(digest))
            except ValueError:
                pass
        raise ConfigurationError(
            "a head is a number of rows, a colon and 64 hexadecimal digits, as "
            f"`cascadeflow audit head` prints it, not {text!r:.100}"
        )


class Chain:
    """How rows are hashed: with a key, or without."""

    __slots__ = ("_inner", "_keyed")

    def __init__(self, key: str | bytes | None = None) -> None:
        """Takes the key.

        Args:
            key: at least 16 bytes; `None` for a chain without one.

        Raises:
            ConfigurationError: the key is too short.
        """
        self._keyed = key is not None
        self._inner: hmac.HMAC | None = None
        if key is not None:
            secret = key.encode() if isinstance(key, str) else key
            if len(secret) < _SHORTEST_KEY:
                raise ConfigurationError(
                    f"an audit key needs at least {_SHORTEST_KEY} bytes; make one with "
                    "`python -c 'import secrets; print(secrets.token_hex(32))'`"
                )
            self._inner = hmac.new(secret, digestmod=hashlib.sha256)

    @classmethod
    def from_environment(cls, key: str | bytes | None) -> Self:
        """Takes the key given, or else the one in `CASCADEFLOW_AUDIT_KEY`, or else none."""
        return cls(key if key is not None else os.environ.get(AUDIT_KEY_VARIABLE) or None)

    @property
    def keyed(self) -> bool:
        """Whether there is a key."""
        return self._keyed

    @property
    def genesis(self) -> Head:
        """The head of an empty log."""
        return Head(0, _GENESIS)

    @property
    def fingerprint(self) -> bytes:
        """What tells one key from another without giving it away; empty without a key."""
        return self._digest(b"cascadeflow audit key") if self._keyed else b""

    def link(self, previous: bytes, body: str) -> bytes:
        """Gives the hash of a row from the hash before it and its canonical JSON."""
        # Ours are ASCII; a row that was changed may hold anything, and must still be hashed.
        return self._digest(previous + body.encode(errors="surrogateescape"))

    def _digest(self, data: bytes) -> bytes:
        if self._inner is None:
            return hashlib.sha256(data).digest()
        inner = self._inner.copy()
        inner.update(data)
        return inner.digest()


class ChainedLog(Protocol):
    """What a store offers to who audits it."""

    @property
    def chain(self) -> Chain:
        """How its rows are hashed."""

    @property
    def key_fits(self) -> bool:
        """Whether `chain` has the key that the log was begun with."""

    def head(self) -> Head:
        """What it says its newest row is."""

    def rows(self) -> Iterator[ChainRow]:
        """The log as it is kept, in the order it was written."""

    def check_beside_chain(self) -> str | None:
        """Says what is wrong beside the chain: damage, or sums that are not those of the log."""
