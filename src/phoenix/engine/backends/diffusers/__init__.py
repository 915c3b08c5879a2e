"""The diffusers engine: renders with any text-to-video pipeline, from a folder or from the hub."""
