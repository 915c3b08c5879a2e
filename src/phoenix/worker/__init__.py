"""Worker processes. They claim tasks, and run them with `engine`, `media` and `storage`."""
