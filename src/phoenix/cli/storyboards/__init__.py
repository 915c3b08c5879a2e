"""`phoenix storyboard`."""
