"""The engines themselves, one package each; opened by `engine.registry` and imported by nothing else."""
