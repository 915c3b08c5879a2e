"""Worker processes: claim tasks, and do them with `engine`, `media` and `storage`."""
