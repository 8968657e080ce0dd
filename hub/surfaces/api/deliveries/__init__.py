"""Deliveries: the log, sending again, and giving up."""
