"""Wires settings to technologies; the only room that chooses them."""

from phoenix.assembly.services import Services, open_services

__all__ = ["Services", "open_services"]
