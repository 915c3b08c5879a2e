"""What texts are about, as vectors of a sentence model: computes them, and compares them."""
