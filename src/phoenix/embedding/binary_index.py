"""Vectors in one bit a number, in memory: which of very many vectors are likely to be the most similar to a query.

The similarity of two vectors is estimated by how many of their numbers have the same sign. Callers compare the rows
that are found once more, with all bits. numpy is imported with the first index.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phoenix.embedding.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORD_BYTES = 8


@dataclass(frozen=True)
class BinaryIndex:
    """The signs of the vectors of rows, by ascending keys. Row i has `counts[i]` vectors, at least one.

    `signs` has a column for each vector: its bits as words of 64.
    """

    keys: "NDArray[np.int64]"
    counts: "NDArray[np.int64]"
    signs: "NDArray[np.uint64]"

    @property
    def num_vectors(self) -> int:
        return self.signs.shape[1]

    def find_nearest(self, query: Vectors, *, limit: int, among: "NDArray[np.int64] | None" = None) -> list[int]:
        """The keys of the rows whose vectors have most signs in common with the query, in no order. Blocks.

        `among`: the keys that may be found.
        """
        import numpy as np  # noqa: PLC0415 - it starts threads, and most processes compare nothing

        if not len(self.keys):
            return []
        starts = np.concatenate(([0], np.cumsum(self.counts)[:-1]))
        distances = np.zeros(len(self.keys), np.int32)
        for wanted in _pack_signs(query.data, query.size).T:
            differing = np.zeros(self.num_vectors, np.uint16)
            for word, column in zip(wanted, self.signs, strict=True):
                differing += np.bitwise_count(column ^ word)
            distances += np.minimum.reduceat(differing, starts)
        keys = self.keys
        if among is not None:
            allowed = np.isin(keys, among)
            keys, distances = keys[allowed], distances[allowed]
        if len(keys) > limit:
            keys = keys[np.argpartition(distances, limit - 1)[:limit]]
        return keys.tolist()

    def without(self, keys: Sequence[int]) -> "BinaryIndex":
        """The index without these rows."""
        import numpy as np  # noqa: PLC0415 - see `find_nearest`

        return self._only(np.isin(self.keys, keys, invert=True))

    def newest(self, max_vectors: int) -> "BinaryIndex":
        """The index with its last rows: as many as have `max_vectors` vectors at most."""
        import numpy as np  # noqa: PLC0415 - see `find_nearest`

        if self.num_vectors <= max_vectors:
            return self
        return self._only(np.cumsum(self.counts[::-1])[::-1] <= max_vectors)

    def _only(self, kept: "NDArray[np.bool_]") -> "BinaryIndex":
        return BinaryIndex(self.keys[kept], self.counts[kept], self.signs[:, kept.repeat(self.counts)])


def build_index(rows: Sequence[tuple[int, bytes]], size: int) -> BinaryIndex:
    """The index of rows by ascending keys, with their vectors of `size` numbers in 8 bits. Blocks.

    Rows without vectors are left out.
    """
    import numpy as np  # noqa: PLC0415 - see `find_nearest`

    some = [(key, data) for key, data in rows if data]
    keys = np.array([key for key, _ in some], np.int64)
    counts = np.array([len(data) // size for _, data in some], np.int64)
    return BinaryIndex(keys, counts, _pack_signs(b"".join(data for _, data in some), size))


def join_indexes(parts: Sequence[BinaryIndex]) -> BinaryIndex:
    """One index of at least one, whose keys follow on each other."""
    import numpy as np  # noqa: PLC0415 - see `find_nearest`

    return BinaryIndex(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.signs for part in parts], axis=1),
    )


def parse_keys(text: str) -> "NDArray[np.int64]":
    """Keys that are written with commas between them, and no spaces."""
    import numpy as np  # noqa: PLC0415 - see `find_nearest`

    return np.fromstring(text, np.int64, sep=",")


def _pack_signs(data: bytes, size: int) -> "NDArray[np.uint64]":
    """A column for each vector of `size` numbers."""
    import numpy as np  # noqa: PLC0415 - see `find_nearest`

    bits = np.packbits(np.frombuffer(data, np.int8).reshape(-1, size) > 0, axis=1)
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % _WORD_BYTES)))
    return np.ascontiguousarray(padded.view(np.uint64).T)
