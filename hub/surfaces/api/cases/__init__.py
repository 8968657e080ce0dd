"""Cases: their routes, files, and presentation."""
