"""What follows from a commit: messages, timers, commands to other matters."""
