"""Deliveries: the log, and dead letters."""
