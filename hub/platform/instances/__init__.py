"""Adapter instances: their records, secrets, registration, pauses and status."""
