"""Personal data: masks for what is shown, marks to know a person again, and the vault for the contact itself."""
