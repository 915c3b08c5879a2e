"""From latents to frames in host memory."""
