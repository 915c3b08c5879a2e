"""How long a supervisor waits before it restarts a child. Pure."""

from dataclasses import dataclass

_LONGEST_S = 30.0
_LIVED_WELL_S = 10.0


@dataclass(frozen=True)
class Backoff:
    """Doubles with every child in a row that dies early, so that a broken installation does not spin."""

    first_s: float
    early_deaths: int = 0
    is_unusable: bool = False

    def after(self, *, lived_s: float, is_recycling: bool, is_unusable: bool = False) -> "Backoff":
        """Once a child has ended. One that recycles, or had lived well, is no sign of anything wrong.

        One that found its settings unusable will do so again, until somebody puts right what they name.
        """
        is_early = not is_recycling and lived_s < _LIVED_WELL_S
        return Backoff(self.first_s, self.early_deaths + 1 if is_early else 0, is_unusable)

    @property
    def delay_s(self) -> float:
        """Seconds to wait; 0 after a child that recycled or lived long enough."""
        if self.is_unusable:
            return _LONGEST_S
        return min(self.first_s * 2 ** (self.early_deaths - 1), _LONGEST_S) if self.early_deaths else 0.0
