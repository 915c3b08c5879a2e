"""`phoenix bench`: how fast this machine renders a model."""
