"""What all kinds of matters share: routes of commands and lists, the stream of changes."""
