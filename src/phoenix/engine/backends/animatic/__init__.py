"""The animatic engine: a moving storyboard drawn from the prompt and the seed. No model, no GPU, and it says so."""
