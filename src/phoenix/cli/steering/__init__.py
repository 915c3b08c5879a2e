"""Commands that steer the fleet."""
