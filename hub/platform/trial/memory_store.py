"""A store for an adapter in a trial or test. It forgets everything. Plugin authors get it from `hub.testing.kit`."""

from __future__ import annotations


class MemoryStore:
    """An AdapterStore that is gone with the trial, or with the test."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return self.values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        """Keep it."""
        self.values[key] = value

    async def delete(self, key: str) -> None:
        """Forget; no error when absent."""
        self.values.pop(key, None)
