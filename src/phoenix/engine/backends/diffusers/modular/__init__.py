"""Modular pipelines of diffusers: trees of blocks that pass a state on, loaded and called like the plain classes."""
