"""Converts seconds to a number of frames that a model can make. Pure arithmetic."""

import math

from phoenix.catalog.model import FrameRule


def nearest_frames(rule: FrameRule, frames: float) -> int:
    """The frame count of the rule nearest to `frames`, within its bounds; the larger one of two equally near."""
    k = math.floor((frames - rule.offset) / rule.multiple + 0.5)
    return min(max(k * rule.multiple + rule.offset, rule.minimum), most_frames(rule, math.inf))


def most_frames(rule: FrameRule, frames: float) -> int:
    """The largest count of the rule that is at most `frames`, but never less than its minimum."""
    if frames >= rule.maximum:
        return rule.maximum
    k = math.floor((frames - rule.offset) / rule.multiple)
    return max(k * rule.multiple + rule.offset, rule.minimum)


def shortest_s(rule: FrameRule, fps: int) -> float:
    return rule.minimum / fps


def longest_s(rule: FrameRule, fps: int) -> float:
    """Longest clip at this frame rate: bounded by frames, and by seconds where the rule says so."""
    if rule.longest_s is None:
        return rule.maximum / fps
    return most_frames(rule, rule.longest_s * fps) / fps


def default_frames(rule: FrameRule, fps: int, *, default_fps: int) -> int:
    """The default length at another frame rate: the same seconds, as far as the model allows."""
    frames = rule.default * fps / default_fps
    return nearest_frames(rule, min(frames, longest_s(rule, fps) * fps))
