"""The HTTP face of Phoenix: thin routes over `jobs`, one place for errors, and the chores that each replica does."""
