"""The server's own limits on a request, in addition to those of the model. Callers of admission provide them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AdmissionLimits:
    max_reel_duration_s: float = 600
