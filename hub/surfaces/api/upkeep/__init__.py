"""Upkeep: repairs and reconciliation."""
