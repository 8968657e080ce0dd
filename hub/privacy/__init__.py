"""Personal data: masks for texts on display, marks to know a person again, and the vault for the contact itself."""
