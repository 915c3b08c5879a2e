"""All of Phoenix on one machine: a private Redis, an API process and workers, which run and end together."""
