"""What a pipeline class of diffusers takes and returns, and whether it fits a catalog entry."""
