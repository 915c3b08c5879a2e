"""`phoenix replay`: a result made again from its manifest."""
