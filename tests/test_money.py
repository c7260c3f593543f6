"""Money goes in and out exactly, and what is no amount stays out."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS, NANODOLLARS_PER_USD, from_usd, to_decimal, to_usd

AMOUNTS = st.integers(min_value=0, max_value=MAX_NANODOLLARS)


@given(AMOUNTS)
def test_nanodollars_become_dollars_and_come_back_unchanged(nanodollars: int) -> None:
    dollars = to_usd(nanodollars)
    assert Fraction(dollars) == Fraction(nanodollars, NANODOLLARS_PER_USD)
    assert from_usd(dollars) == nanodollars
    assert from_usd(str(dollars)) == nanodollars


@given(AMOUNTS)
def test_dollars_always_have_nine_places(nanodollars: int) -> None:
    assert to_usd(nanodollars).as_tuple().exponent == -9


@given(
    st.decimals(
        min_value=0, max_value=Decimal(MAX_NANODOLLARS).scaleb(-9), allow_nan=False, places=40
    )
)
def test_an_amount_is_rounded_up_to_the_least_that_is_enough(amount: Decimal) -> None:
    nanodollars = from_usd(amount)
    exact = Fraction(amount) * NANODOLLARS_PER_USD
    assert nanodollars - 1 < exact <= nanodollars


@given(st.floats(min_value=0, max_value=4e9))
def test_a_float_is_read_as_the_shortest_decimal_it_is_written_as(amount: float) -> None:
    assert from_usd(amount) == from_usd(repr(amount))


def test_a_tenth_is_a_tenth_and_not_the_binary_number_beside_it() -> None:
    assert from_usd(0.1) == 100_000_000
    assert to_decimal(0.1, what="rate") == Decimal("0.1")


def test_a_callers_own_decimal_context_changes_nothing() -> None:
    with decimal.localcontext(prec=3, rounding=decimal.ROUND_FLOOR):
        assert to_usd(1_234_567_890) == Decimal("1.234567890")
        assert from_usd("1.2345678901") == 1_234_567_891
        assert from_usd(Decimal("0.0000000000000000000000000000000000001")) == 1


@pytest.mark.parametrize("amount", ["1e-999999", "0e-999999", "0e999999", "0.000000000"])
def test_tiny_amounts_and_zeros_of_any_form_are_taken(amount: str) -> None:
    assert from_usd(amount) == (1 if amount.startswith("1") else 0)


@pytest.mark.parametrize(
    "amount",
    [-1, -0.5, "-0.000000001", float("nan"), float("inf"), "Infinity", "sNaN", Decimal("-inf")],
)
def test_negative_and_endless_amounts_are_refused(amount: object) -> None:
    with pytest.raises(InvalidRequestError, match="fee must be finite and at least 0"):
        from_usd(amount, what="fee")  # type: ignore[arg-type]


def test_a_number_of_too_many_digits_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidRequestError, match="a number of too many digits"):
        from_usd(10**5000)


@pytest.mark.parametrize("amount", [True, False, None, "", "12 dollars", "0x10", []])
def test_what_is_no_number_is_refused(amount: object) -> None:
    with pytest.raises(InvalidRequestError, match="fee must be a number of US dollars"):
        from_usd(amount, what="fee")  # type: ignore[arg-type]


def test_the_largest_amount_is_taken_and_the_next_one_refused() -> None:
    most = to_usd(MAX_NANODOLLARS)
    assert from_usd(most) == MAX_NANODOLLARS
    for more in (most + Decimal("1e-9"), f"{most}000000000000001", "1e400", 1e300, 5 * 10**9):
        with pytest.raises(InvalidRequestError, match="larger than can be accounted for"):
            from_usd(more)
