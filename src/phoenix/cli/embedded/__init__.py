"""All of Phoenix on one machine: a private Redis, one API process and workers, kept alive and ended together."""
