"""The ways in: reports, what departments say, and time."""
