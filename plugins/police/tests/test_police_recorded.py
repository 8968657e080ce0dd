"""What was recorded of the system is replayed: the same requests, the same outcome."""

from __future__ import annotations

from pathlib import Path

from hub_police import PoliceAdapter
from hub_police.simulator import adapter_settings

from hub.testing.recorded import RecordedContract


class TestPoliceRecorded(RecordedContract):
    adapter_class = PoliceAdapter
    adapter_settings = staticmethod(adapter_settings)
    cassettes = Path(__file__).parent / "cassettes"
