"""The ledger and its one door, the desk."""
