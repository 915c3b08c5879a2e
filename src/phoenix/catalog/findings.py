"""Collects what admission finds in a request: faults and roundings, each once."""

from phoenix.contract.resolved import Adjustment
from phoenix.errors import Fault, InvalidRequest


class Findings:
    """Collects faults until the end, so that a client learns of all of them at once.

    A value of the reel is checked once per clip, but a finding about it is kept only once.
    """

    def __init__(self) -> None:
        self._faults: dict[Fault, None] = {}
        self._adjustments: dict[str, Adjustment] = {}

    def fault(self, pointer: str, detail: str) -> None:
        self._faults[Fault(pointer, detail)] = None

    def adjust(self, pointer: str, *, requested: str, resolved: str, reason: str) -> None:
        self._adjustments[pointer] = Adjustment(pointer=pointer, requested=requested, resolved=resolved, reason=reason)

    @property
    def adjustments(self) -> list[Adjustment]:
        return list(self._adjustments.values())

    def raise_faults(self) -> None:
        """Raises `InvalidRequest` with every fault in the order found; returns if there are none."""
        faults = tuple(self._faults)
        if not faults:
            return
        first = f"{faults[0].pointer}: {faults[0].detail}"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidRequest(first + more, faults=faults)
