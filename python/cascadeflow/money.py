"""Money: integer nanodollars inside, `decimal.Decimal` dollars at the API.

1 USD = 10⁹ nanodollars. No float adds up money: a float is taken only at the door, by its shortest
decimal form (`0.1` is one tenth), and given only to v0.1's flat fields.
"""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import Final, TypeAlias

from cascadeflow.errors import InvalidRequestError

__all__ = ["MAX_NANODOLLARS", "NANODOLLARS_PER_USD", "Amount", "from_usd", "to_decimal", "to_usd"]

Amount: TypeAlias = Decimal | float | str
"""A number of US dollars as a caller writes it (an `int` is a `float` to a type checker)."""

NANODOLLARS_PER_USD: Final = 1_000_000_000

MAX_NANODOLLARS: Final = 2**62 - 1
"""The largest amount (about 4.6 billion USD): it fits the ledger's word with its closed bit."""

# The caller's own decimal context may round to fewer digits than an amount has.
_EXACT: Final = Context(prec=64)

_NANO: Final = Decimal(1).scaleb(-9)
_MAX_USD: Final = Decimal(MAX_NANODOLLARS).scaleb(-9, _EXACT)


def to_usd(nanodollars: int) -> Decimal:
    """Gives nanodollars as exact dollars, nine places.

    >>> to_usd(1_500_000_000)
    Decimal('1.500000000')
    """
    return Decimal(nanodollars).scaleb(-9, _EXACT)


def to_decimal(amount: Amount, *, what: str) -> Decimal:
    """Gives an amount as the decimal it is written as; a float by its shortest form.

    Args:
        amount: a number; text is read as a decimal number.
        what: what the amount is, for the error's text.

    Raises:
        InvalidRequestError: the amount is negative, infinite or no number.

    >>> to_decimal(0.1, what="fee")
    Decimal('0.1')
    """
    try:
        text = repr(amount) if isinstance(amount, bool) else str(amount)
        value = amount if isinstance(amount, Decimal) else Decimal(text)
    except (InvalidOperation, ValueError):
        raise InvalidRequestError(
            f"{what} must be a number of US dollars, not {_shown(amount)}"
        ) from None
    if not value.is_finite() or value < 0:
        raise InvalidRequestError(
            f"{what} must be finite and at least 0 US dollars, not {_shown(amount)}"
        )
    return value


def from_usd(amount: Amount, *, what: str = "amount") -> int:
    """Gives dollars as nanodollars, rounded up to the next one.

    Args:
        amount: dollars; a float is read by its shortest decimal form.
        what: what the amount is, for the error's text.

    Raises:
        InvalidRequestError: the amount is negative, not a number, infinite or too large.

    >>> from_usd("0.0000000001"), from_usd(0.1)
    (1, 100000000)
    """
    value = to_decimal(amount, what=what)
    if value > _MAX_USD:
        raise InvalidRequestError(
            f"{what} is larger than can be accounted for: {value:.3e} US dollars"
        )
    if (
        value.adjusted() < _NANO.adjusted()
    ):  # less than a nanodollar; its ratio could be of any length
        return 1 if value else 0
    numerator, denominator = value.as_integer_ratio()
    return -(-numerator * NANODOLLARS_PER_USD // denominator)


def _shown(amount: object) -> str:
    """Gives what was given, cut short; an int may have too many digits to be shown at all."""
    try:
        return f"{amount!r:.80}"
    except ValueError:
        return "a number of too many digits"
