"""The weights of models on the Hugging Face hub: which files are needed, and their download."""
