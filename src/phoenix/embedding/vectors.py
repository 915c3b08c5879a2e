"""Vectors of texts as they are stored, and how similar they are. numpy is imported with the first comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCALE = 127
_ROWS_AT_ONCE = 8192
"""Rows that are compared at once: in 32-bit floats, all rows of an owner would take four times their memory."""


@dataclass(frozen=True)
class Vectors:
    """Directions of texts, each of `size` numbers in 8 bits. Only vectors of the same model can be compared."""

    model: str
    size: int
    data: bytes

    def __bool__(self) -> bool:
        return bool(self.data)


def pack(model: str, directions: "NDArray[np.float32]") -> Vectors:
    """The rows of `directions`, each of length 1, in 8 bits a number. A cosine changes by less than 0.01."""
    import numpy as np  # noqa: PLC0415 - it starts threads, and most processes compare nothing

    return Vectors(model, directions.shape[1], np.rint(directions * SCALE).astype(np.int8).tobytes())


def rank_by_similarity(
    stored: Sequence[tuple[str, bytes]], query: Vectors, *, min_similarity: float, limit: int
) -> list[str]:
    """The ids whose vectors are similar to the query, the most similar first, at most `limit`. Blocks.

    `stored`: ids and their vectors in 8 bits. The similarity of two sets of vectors: for each vector of the query the
    highest cosine, and the mean of these.
    """
    import numpy as np  # noqa: PLC0415 - see `pack`

    some = [(each, data) for each, data in stored if data]
    if not some or not query:
        return []
    matrix = np.frombuffer(b"".join(data for _, data in some), np.int8).reshape(-1, query.size)
    wanted = np.frombuffer(query.data, np.int8).reshape(-1, query.size).T.astype(np.float32)
    parts = [
        matrix[start : start + _ROWS_AT_ONCE].astype(np.float32) @ wanted
        for start in range(0, len(matrix), _ROWS_AT_ONCE)
    ]
    counts = np.array([len(data) // query.size for _, data in some])
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    scores = np.maximum.reduceat(np.concatenate(parts), starts).mean(axis=1) / SCALE**2
    # Newer ids first among equals.
    order = sorted(np.flatnonzero(scores >= min_similarity), key=lambda at: (-scores[at], some[at][0]))
    return [some[at][0] for at in order[:limit]]
