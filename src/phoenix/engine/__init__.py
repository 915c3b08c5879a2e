"""Turns clips into frames. Its public modules import no torch, so that a worker without it can render drafts."""
