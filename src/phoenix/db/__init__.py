"""Engine, sessions, column types and the unit of work. Knows no table: those live with their domain, in `jobs`."""
