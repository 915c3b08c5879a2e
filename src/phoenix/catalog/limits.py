"""The server's own bounds on a request, beside those of the model. Whoever admits fills them in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AdmissionLimits:
    max_reel_duration_s: float = 600
