"""Phoenix: a self-hosted video-generation backend."""

__version__ = "0.1.0"
