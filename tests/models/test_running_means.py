"""Means of what was observed lately: like the slow definition, bounded, and merged without loss."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError
from cascadeflow.models.running_means import RunningMeans

A, B, C = ("a",), ("b",), ("c",)


def table(*, half_life: float = 10.0, max_keys: int = 100, parts: int = 1) -> RunningMeans:
    return RunningMeans("test", parts=parts, largest=1.0, half_life=half_life, max_keys=max_keys)


def by_definition(values: list[float], half_life: float) -> tuple[float, float]:
    """Each observation weighs half as much for every `half_life` that came after it."""
    weights = [2.0 ** (-age / half_life) for age in range(len(values))][::-1]
    return sum(weights), sum(w * value for w, value in zip(weights, values, strict=True))


values = st.lists(st.floats(0, 1), max_size=60)


@given(values=values, half_life=st.floats(0.5, 1_000))
def test_the_sums_are_those_of_the_definition(values: list[float], half_life: float) -> None:
    means = table(half_life=half_life)
    for value in values:
        means.observe(value, A, B)
    expected = pytest.approx(by_definition(values, half_life))
    assert means.read(A, B, C) == [expected, expected, (0.0, 0.0)]


def test_what_is_too_large_counts_as_the_largest_and_what_is_no_number_is_refused() -> None:
    means = table()
    means.observe(7.0, A)
    assert means.read(A) == [(1.0, 1.0)]
    for wrong in (-0.1, float("nan")):
        with pytest.raises(InvalidRequestError, match="at least 0"):
            means.observe(wrong, A)
    assert means.read(A) == [(1.0, 1.0)]


def test_the_key_that_was_not_used_for_longest_makes_room() -> None:
    means = table(max_keys=2)
    means.observe(1, A)
    means.observe(1, B)
    means.read(A)
    means.observe(1, C)
    assert len(means) == 2
    assert [weight for weight, _ in means.read(A, B, C)] == [1, 0, 1]


@pytest.mark.parametrize("half_life", [0, -1, float("nan"), float("inf"), 1e7])
def test_a_half_life_that_cannot_be_is_refused(half_life: float) -> None:
    with pytest.raises(ConfigurationError, match="half_life"):
        table(half_life=half_life)


def test_a_table_without_room_for_one_observation_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="room"):
        RunningMeans("test", parts=3, largest=1.0, half_life=1, max_keys=2)


def test_threads_lose_no_observation() -> None:
    means = table(half_life=1_000_000)

    def observe() -> None:
        for _ in range(2_000):
            means.observe(1.0, A)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    weight, total = means.read(A)[0]
    assert weight == total == pytest.approx(by_definition([1.0] * 8_000, 1_000_000)[0])


def test_forgetting_takes_what_fits_the_pattern() -> None:
    means = table(parts=2)
    for key in (("x", "m"), ("y", "m"), ("y", "n")):
        means.observe(1, key)
    means.forget((None, "m"))
    assert [w for w, _ in means.read(("x", "m"), ("y", "m"), ("y", "n"))] == [0, 0, 1]
    means.forget((None, None))
    assert len(means) == 0


# Stored


def stored_and_read(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document))


@given(values=values)
def test_a_table_comes_back_from_json_as_it_was(values: list[float]) -> None:
    means = table()
    for value in values:
        means.observe(value, A)
    again = table()
    again.restore(stored_and_read(means.to_dict()))
    assert again.read(A) == [pytest.approx(means.read(A)[0], abs=2e-6)]


GOOD: dict[str, Any] = {"what": "test", "version": 1, "means": [["a", 2.0, 1.0]]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"what": "other"}, "something else"),
        ({"version": 0}, "something else"),
        ({"version": "1"}, "something else"),
        ({"version": True}, "something else"),
        ({"version": 2}, r"newer cascadeflow \(its version is 2, this one knows 1\).*upgrade"),
        ({"means": None}, "rows are missing"),
        ({"means": [["a", 2.0]]}, "has not 3 fields"),
        ({"means": ["abc"]}, "has not 3 fields"),
        ({"means": [[1, 2.0, 1.0]]}, "key is no text"),
        ({"means": [["a", 2.0, 2.1]]}, "cannot be"),
        ({"means": [["a", -2.0, 1.0]]}, "cannot be"),
        ({"means": [["a", 2.0, -1.0]]}, "cannot be"),
        ({"means": [["a", float("nan"), 1.0]]}, "cannot be"),
        ({"means": [["a", float("inf"), 1.0]]}, "cannot be"),
        ({"means": [["a", True, 1.0]]}, "cannot be"),
        ({"means": [["a", "2", 1.0]]}, "cannot be"),
    ],
)
def test_what_is_no_such_table_is_refused_and_changes_nothing(
    change: dict[str, Any], says: str
) -> None:
    means = table()
    means.observe(1, B)
    for take in (means.restore, means.adopt, lambda bad: means.merged(bad, means.take_changes())):
        with pytest.raises(StoreError, match=says) as error:
            take({**GOOD, **change})
        assert "was left as it is" in str(error.value)
        assert "delete the note 'test'" in str(error.value)
    assert means.read(A, B) == [(0.0, 0.0), (1.0, 1.0)]


def test_a_larger_table_is_read_as_far_as_there_is_room_the_newest_first() -> None:
    means = table(max_keys=2)
    means.restore({**GOOD, "means": [["a", 1, 1], ["b", 1, 1], ["c", 1, 1]]})
    assert [weight for weight, _ in means.read(A, B, C)] == [0, 1, 1]


def test_what_was_learned_with_a_longer_half_life_does_not_outweigh_a_shorter_one() -> None:
    means = table(half_life=1)  # its own weights never exceed 2
    means.restore({**GOOD, "means": [["a", 1_000.0, 250.0]]})
    assert means.read(A) == [pytest.approx((2.0, 0.5))]


@given(
    batches=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.lists(st.floats(0, 1), max_size=8)), max_size=10
    )
)
def test_several_processes_store_what_one_would_have_learned_from_all_in_the_order_of_saving(
    batches: list[tuple[bool, bool, list[float]]],
) -> None:
    """Each batch is one process's; a save that fails leaves it to that process's next one."""
    processes = [table(), table()]
    unsaved: list[list[float]] = [[], []]
    for means in processes:
        means.watch(lambda: None)
    document: dict[str, Any] | None = None
    in_order: list[float] = []
    ends: list[tuple[bool, bool, list[float]]] = [(False, True, []), (True, True, [])]
    for which, saved, batch in [*batches, *ends]:
        means = processes[which]
        for value in batch:
            means.observe(value, A)
        unsaved[which] += batch
        changes = means.take_changes()
        if not saved:
            means.give_back(changes)
            continue
        document = stored_and_read(means.merged(document, changes))
        in_order += unsaved[which]
        unsaved[which] = []
        means.adopt(document)
        assert means.read(A) == [pytest.approx(by_definition(in_order, 10.0), abs=1e-4)]


def test_what_is_observed_while_it_is_saved_is_saved_next() -> None:
    means = table()
    means.watch(lambda: None)
    means.observe(1, A)
    changes = means.take_changes()
    means.observe(0, A)
    first = means.merged(None, changes)
    means.observe(1, A)
    means.adopt(first)
    assert means.read(A) == [pytest.approx(by_definition([1, 0, 1], 10.0), abs=1e-5)]
    second = means.merged(first, means.take_changes())
    assert second["means"][0][1:] == pytest.approx(by_definition([1, 0, 1], 10.0), abs=1e-5)
    assert not means.take_changes()


def test_what_is_forgotten_is_forgotten_in_the_store_too_and_what_came_later_is_not() -> None:
    means = table()
    means.watch(lambda: None)
    document = {**GOOD, "means": [["a", 5.0, 5.0], ["b", 5.0, 5.0]]}
    means.restore(document)
    means.observe(1, A)
    means.forget(A)
    means.observe(0, A)
    changes = means.take_changes()
    assert means.merged(document, changes)["means"] == [["b", 5.0, 5.0], ["a", 1.0, 0.0]]


def test_a_save_that_failed_does_not_bring_back_what_was_forgotten_meanwhile() -> None:
    means = table()
    means.watch(lambda: None)
    means.observe(1, A)
    means.observe(1, B)
    changes = means.take_changes()
    means.forget(A)
    means.give_back(changes)
    merged = means.merged({**GOOD, "means": [["a", 5.0, 5.0]]}, means.take_changes())
    assert merged["means"] == [["b", 1.0, 1.0]]


def test_what_cannot_be_saved_for_long_is_bounded_too() -> None:
    means = table(max_keys=5)
    means.watch(lambda: None)
    for number in range(50):
        means.observe(1, (str(number),))
        if number % 7 == 0:
            means.give_back(means.take_changes())
    assert len(means.take_changes().learned) == 5


def test_somebody_is_told_after_every_so_many_observations_until_nobody_listens() -> None:
    means, told = table(), []
    means.watch(lambda: told.append(1), every=3)
    for _ in range(7):
        means.observe(1, A)
    assert len(told) == 2
    means.watch(None)
    for _ in range(7):
        means.observe(1, A)
    assert len(told) == 2
    assert not means.take_changes()
