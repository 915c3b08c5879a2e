"""HTTP mechanics that every resource shares: headers, bodies, ranges, conditions, responses."""
