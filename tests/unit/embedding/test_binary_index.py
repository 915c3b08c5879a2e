"""Which rows an index of one bit a number finds, and how it grows and shrinks."""

from collections.abc import Sequence

import numpy as np
import pytest

from phoenix.embedding.binary_index import BinaryIndex, build_index, join_indexes, parse_keys
from phoenix.embedding.vectors import Vectors, pack, rank_by_similarity

SIZE = 96
DRAW = np.random.default_rng(7)


def directions(count: int, near: "np.ndarray | None" = None, spread: float = 1.0) -> np.ndarray:
    drawn = DRAW.standard_normal((count, SIZE)) * spread + (0 if near is None else near)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def as_vectors(rows: np.ndarray) -> Vectors:
    return pack("drawn", rows)


def index_of(rows: Sequence[np.ndarray], *, first_key: int = 1) -> BinaryIndex:
    return build_index([(first_key + at, as_vectors(row).data) for at, row in enumerate(rows)], SIZE)


def test_the_row_that_is_most_similar_is_among_those_that_are_found() -> None:
    rows = [directions(1) for _ in range(300)]
    stored = [(f"{at + 1:03}", as_vectors(row).data) for at, row in enumerate(rows)]
    query = as_vectors(directions(1, near=rows[41], spread=0.05))

    best = rank_by_similarity(stored, query, min_similarity=-1, limit=1)
    found = index_of(rows).find_nearest(query, limit=40)

    assert (best, 42 in found, len(found)) == (["042"], True, 40)


def test_a_row_is_as_near_as_the_nearest_of_its_vectors() -> None:
    wanted = directions(1)
    rows = [directions(1), np.concatenate([directions(2), wanted]), directions(3)]

    assert index_of(rows).find_nearest(as_vectors(wanted), limit=1) == [2]


def test_a_query_of_several_vectors_finds_the_row_that_is_near_to_all_of_them() -> None:
    one, other = directions(1), directions(1)
    rows = [one, np.concatenate([one, other]), other]

    assert index_of(rows).find_nearest(as_vectors(np.concatenate([one, other])), limit=1) == [2]


def test_only_rows_that_are_allowed_are_found() -> None:
    rows = [directions(1) for _ in range(5)]

    found = index_of(rows).find_nearest(as_vectors(rows[0]), limit=3, among=parse_keys("2,4,9"))

    assert sorted(found) == [2, 4]


def test_rows_without_vectors_are_left_out() -> None:
    query = as_vectors(directions(1))

    assert build_index([(1, b""), (2, query.data)], SIZE).find_nearest(query, limit=5) == [2]
    assert build_index([], SIZE).find_nearest(query, limit=5) == []


def test_joined_indexes_find_what_is_in_each() -> None:
    rows = [directions(2) for _ in range(6)]
    joined = join_indexes([index_of(rows[:2]), index_of([]), index_of(rows[2:], first_key=3)])

    assert [joined.find_nearest(as_vectors(row[:1]), limit=1) for row in rows] == [[at] for at in range(1, 7)]


def test_a_row_that_is_taken_out_is_not_found() -> None:
    rows = [directions(2) for _ in range(4)]
    fewer = index_of(rows).without([2])

    assert sorted(fewer.find_nearest(as_vectors(rows[1]), limit=9)) == [1, 3, 4]
    assert fewer.num_vectors == 6


@pytest.mark.parametrize(("most", "kept"), [(9, [1, 2, 3]), (6, [1, 2, 3]), (5, [2, 3]), (1, [])])
def test_the_newest_rows_fit_into_a_number_of_vectors(most: int, kept: list[int]) -> None:
    index = index_of([directions(2) for _ in range(3)])

    assert sorted(index.newest(most).find_nearest(as_vectors(directions(1)), limit=9)) == kept


def test_no_keys_are_parsed_from_an_empty_text() -> None:
    assert parse_keys("").tolist() == []
    assert parse_keys("7,12").tolist() == [7, 12]
