"""A server of the Model Context Protocol, through which agents make, watch, edit and find reels by the public API."""
