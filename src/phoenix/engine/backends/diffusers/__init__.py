"""The diffusers engine: any text-to-video pipeline folder, on disk or from the hub."""
