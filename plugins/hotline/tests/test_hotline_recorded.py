"""What was recorded of the system is replayed: the same requests, the same outcome."""

from __future__ import annotations

from pathlib import Path

from hub_hotline import HotlineAdapter
from hub_hotline.simulator import adapter_settings

from hub.testing.recorded import RecordedContract


class TestHotlineRecorded(RecordedContract):
    adapter_class = HotlineAdapter
    adapter_settings = staticmethod(adapter_settings)
    cassettes = Path(__file__).parent / "cassettes"
