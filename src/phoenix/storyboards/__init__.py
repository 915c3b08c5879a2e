"""From an idea to a reel request: a language model or a template writes it, and messages refine it."""
