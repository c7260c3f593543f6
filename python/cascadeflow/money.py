"""Money: integer nanodollars inside, `decimal.Decimal` dollars at the API.

1 USD = 10⁹ nanodollars. No float adds up money: a float is taken only at the door, by its shortest
decimal form (`0.1` is one tenth), and given only to v0.1's flat fields.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final

from cascadeflow.errors import InvalidRequestError

__all__ = ["MAX_NANODOLLARS", "NANODOLLARS_PER_USD", "from_usd", "to_usd"]

NANODOLLARS_PER_USD: Final = 1_000_000_000

MAX_NANODOLLARS: Final = 2**62 - 1
"""The largest amount (about 4.6 billion USD): it fits the ledger's word with its closed bit."""

_NANO: Final = Decimal(1).scaleb(-9)


def to_usd(nanodollars: int) -> Decimal:
    """Gives nanodollars as exact dollars.

    >>> to_usd(1_500_000_000)
    Decimal('1.500000000')
    """
    return Decimal(nanodollars).scaleb(-9).quantize(_NANO)


def from_usd(amount: Decimal | float | str, *, what: str = "amount") -> int:
    """Gives dollars as nanodollars, rounded up to the next one.

    Args:
        amount: dollars; a float is read by its shortest decimal form.
        what: what the amount is, for the error's text.

    Raises:
        InvalidRequestError: the amount is negative, not a number, infinite or too large.

    >>> from_usd("0.0000000001"), from_usd(0.1)
    (1, 100000000)
    """
    if isinstance(amount, bool):
        raise InvalidRequestError(f"{what} must be a number of US dollars, not {amount!r}")
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        raise InvalidRequestError(
            f"{what} must be a number of US dollars, not {amount!r}"
        ) from None
    if not value.is_finite() or value < 0:
        raise InvalidRequestError(
            f"{what} must be finite and at least 0 US dollars, not {amount!r}"
        )
    if value > MAX_NANODOLLARS // NANODOLLARS_PER_USD:
        raise InvalidRequestError(
            f"{what} is larger than can be accounted for: {amount!r} US dollars"
        )
    return int((value * NANODOLLARS_PER_USD).to_integral_value(rounding=ROUND_CEILING))
