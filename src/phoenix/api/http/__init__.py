"""HTTP mechanics that know no resource: headers, bodies, ranges, conditions, responses."""
