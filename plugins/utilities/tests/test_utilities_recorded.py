"""What was recorded of the system is replayed: the same requests, the same outcome."""

from __future__ import annotations

from pathlib import Path

from hub_utilities import UtilitiesAdapter
from hub_utilities.simulator import adapter_settings

from hub.testing.recorded import RecordedContract


class TestUtilitiesRecorded(RecordedContract):
    adapter_class = UtilitiesAdapter
    adapter_settings = staticmethod(adapter_settings)
    cassettes = Path(__file__).parent / "cassettes"
