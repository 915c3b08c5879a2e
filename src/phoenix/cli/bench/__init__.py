"""`phoenix bench`: measures how fast this machine renders a model."""
