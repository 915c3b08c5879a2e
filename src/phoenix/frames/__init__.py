"""Frames on demand: sound comes in piece by piece, and frames of a registered video come out that say it."""
