"""Engine, sessions, column types and the unit of work. Knows no tables: those live in `jobs` and `access`."""
