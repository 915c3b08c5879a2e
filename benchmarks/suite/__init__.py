"""`make bench`: one table, in which each row is a ratio to a peer or to a limit that is measured in the same run."""
