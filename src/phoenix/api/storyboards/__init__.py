"""Storyboards over HTTP: made, refined, followed while a language model writes them."""
