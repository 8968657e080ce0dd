"""The ways in: reports, departments' feedback, and time."""
