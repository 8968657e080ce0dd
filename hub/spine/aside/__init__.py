"""Putting aside what can not be worked on, for a person to look at."""
