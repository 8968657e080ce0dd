"""Upkeep: repairs, reconciliation with departments, crosswalks and catalogues."""
