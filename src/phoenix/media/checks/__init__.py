"""What is probably wrong with a clip that was rendered."""
