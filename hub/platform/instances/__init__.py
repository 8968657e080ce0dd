"""Adapter instances: their records, secrets, registration, pauses and what is shown of them."""
