"""What an entry sets on the denoisers of its pipeline."""
