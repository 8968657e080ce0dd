"""Cases: their routes, files, and how they are shown."""
