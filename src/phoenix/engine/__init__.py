"""What turns a clip into frames. Its face imports no torch, so that a worker without it serves drafts."""
