"""Vectors keep what they are given and are compared as numpy compares them."""

from __future__ import annotations

import array
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cascadeflow._native import Vectors
from cascadeflow.errors import InvalidRequestError

# Away from zero, so that every row has a direction.
ROWS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.just(20)),
    elements=st.floats(0.5, 100, width=32) | st.floats(-100, -0.5, width=32),
)


@given(ROWS)
def test_rows_come_back_as_they_went_in(rows: np.ndarray) -> None:
    vectors = Vectors(rows.tolist())
    assert vectors.tolist() == rows.tolist()
    assert vectors.tobytes() == rows.tobytes()
    assert Vectors.from_bytes(rows.tobytes(), 20).tolist() == rows.tolist()
    assert memoryview(vectors.tobytes()).cast("f", (len(rows), 20)).tolist() == rows.tolist()
    assert (len(vectors), vectors.dimension) == rows.shape


@given(ROWS, ROWS)
def test_products_and_cosines_are_those_of_numpy(left: np.ndarray, right: np.ndarray) -> None:
    one, other = Vectors(left.tolist()), Vectors(right.tolist())
    want = left.astype(float) @ right.astype(float).T
    sizes = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    assert np.allclose(np.array(one.dots(other)) / sizes, want / sizes, atol=1e-5)
    assert np.allclose(one.cosines(other), want / sizes, atol=1e-5)
    unit = one.normalised()
    assert np.allclose(np.linalg.norm(unit.tolist(), axis=1), 1, atol=1e-6)
    assert np.allclose(unit.dots(other.normalised()), want / sizes, atol=1e-5)


@given(ROWS, st.integers(0, 12))
def test_the_nearest_are_the_largest_products(rows: np.ndarray, k: int) -> None:
    vectors = Vectors(rows.tolist())
    products = vectors[0].dots(vectors)[0]
    order = sorted(range(len(rows)), key=lambda index: (-products[index], index))
    assert vectors.top_k(vectors[0], k) == [(index, products[index]) for index in order[:k]]


def test_a_large_set_gives_the_same_as_its_rows_one_by_one() -> None:
    # Large enough to be worked on without the interpreter's lock.
    rows = np.random.default_rng(3).normal(size=(12_000, 384)).astype(np.float32)
    vectors = Vectors.from_bytes(rows.tobytes(), 384).normalised()
    found = vectors.top_k(vectors[77], 3)
    assert found[0][0] == 77
    assert found[0][1] == pytest.approx(1, abs=1e-5)
    assert found == [(index, vectors[77].dots(vectors[index])[0][0]) for index, _ in found]


def test_a_row_is_a_vector_of_its_own_and_rows_are_walked_through() -> None:
    vectors = Vectors([[1, 2], [3, 4], [5, 6]])
    assert vectors[1].tolist() == [[3, 4]]
    assert vectors[-1].tolist() == [[5, 6]]
    assert [row.tolist()[0] for row in vectors] == [[1, 2], [3, 4], [5, 6]]
    for index in (3, -4):
        with pytest.raises(IndexError):
            vectors[index]


def test_an_array_of_the_standard_library_is_read() -> None:
    assert Vectors.from_bytes(array.array("f", [1, 2, 3, 4]).tobytes(), 2).tolist() == [
        [1, 2],
        [3, 4],
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(InvalidRequestError, match="vector 1"):
        Vectors([[1, 2], [3, bad]])


@pytest.mark.parametrize("rows", [[], [[]], [[1, 2], [3]]])
def test_rows_of_several_lengths_or_of_none_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(InvalidRequestError):
        Vectors(rows)


@pytest.mark.parametrize(("data", "dimension"), [(b"123", 1), (bytes(12), 2), (bytes(8), 0)])
def test_bytes_that_are_no_whole_rows_are_refused(data: bytes, dimension: int) -> None:
    with pytest.raises(InvalidRequestError):
        Vectors.from_bytes(data, dimension)


def test_zeros_have_no_direction() -> None:
    vectors = Vectors([[1, 2], [0, 0]])
    with pytest.raises(InvalidRequestError, match="vector 1"):
        vectors.normalised()
    with pytest.raises(InvalidRequestError, match="direction"):
        vectors.cosines(vectors)


def test_vectors_of_different_dimensions_are_not_compared() -> None:
    one, other = Vectors([[1, 2]]), Vectors([[1, 2, 3]])
    for compare in (one.dots, one.cosines):
        with pytest.raises(InvalidRequestError, match="2 and 3"):
            compare(other)
    with pytest.raises(InvalidRequestError):
        one.top_k(other, 1)


def test_a_query_is_one_vector() -> None:
    with pytest.raises(InvalidRequestError, match="one vector"):
        Vectors([[1, 2]]).top_k(Vectors([[1, 2], [3, 4]]), 1)


def test_a_product_too_large_is_refused() -> None:
    huge = Vectors([[3e38, 3e38]])
    with pytest.raises(InvalidRequestError, match="too large"):
        huge.dots(huge)
    assert huge.cosines(huge)[0][0] == pytest.approx(1)


@given(
    rows=arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 4), st.integers(1, 9)),
        elements=st.floats(-9, 9, width=32),
    ),
    start=st.integers(0, 12),
    end=st.integers(0, 12),
)
def test_columns_are_a_slice_of_every_row(rows: np.ndarray, start: int, end: int) -> None:
    vectors = Vectors.from_bytes(rows.astype("<f4").tobytes(), rows.shape[1])
    if start < end <= rows.shape[1]:
        found = vectors.columns(start, end)
        assert found.dimension == end - start
        assert found.tolist() == rows[:, start:end].tolist()
    else:
        with pytest.raises(InvalidRequestError, match="has none from"):
            vectors.columns(start, end)
