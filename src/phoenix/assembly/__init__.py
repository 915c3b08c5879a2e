"""Opens the services that the settings choose; the only package that knows every technology."""

from phoenix.assembly.services import Services, open_services

__all__ = ["Services", "open_services"]
