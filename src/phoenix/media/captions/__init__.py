"""Captions: what is shown when, how it is laid out, and how it gets into a video."""
