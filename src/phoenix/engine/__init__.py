"""Turns clips into frames. The public modules import no torch, so that a worker without torch can render drafts."""
