"""The dashboard: one static page, a consumer of the public API like any other. It has no endpoints of its own."""

from phoenix.dashboard.pages import mount

__all__ = ["mount"]
