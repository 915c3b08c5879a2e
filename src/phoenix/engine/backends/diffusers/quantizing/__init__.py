"""Weights in 8 bits or fewer: by torchao at load, or from GGUF files."""
