"""What a result was made of, and with what."""
