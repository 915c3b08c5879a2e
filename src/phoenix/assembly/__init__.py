"""Wires settings to technologies; the only package that chooses them."""

from phoenix.assembly.services import Services, open_services

__all__ = ["Services", "open_services"]
