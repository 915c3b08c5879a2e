"""Maps sizes in pixels to resolution and aspect ratio, for clients that ask for `1280x720`. Pure."""

from itertools import product

from phoenix.catalog.model import SizeRule
from phoenix.catalog.sizes import Size, fit_size
from phoenix.contract.base import AspectRatio, Resolution

NamedSizes = dict[Size, tuple[Resolution, AspectRatio]]


def name_sizes(rule: SizeRule) -> NamedSizes:
    """The name of every size that the model makes; of two names for one size, the first in the catalog's order."""
    named: NamedSizes = {}
    for resolution, aspect_ratio in product(rule.resolutions, rule.aspect_ratios):
        named.setdefault(fit_size(rule, resolution, aspect_ratio), (resolution, aspect_ratio))
    return named
