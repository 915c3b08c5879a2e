"""The animatic engine: draws a moving storyboard from the prompt and the seed, labelled as a draft.

No model, no GPU.
"""
