"""The recorded contract: today's adapter sends the recorded requests, and makes the recorded results of the answers.

A plugin subclasses `RecordedContract` once and keeps cassettes (`hub adapter try … --sample default --record FILE`) beside its tests:

    class TestLampsRecorded(RecordedContract):
        adapter_class = LampsAdapter
        adapter_settings = staticmethod(adapter_settings)
        cassettes = Path(__file__).parent / "cassettes"

Each `*.cassette.json` is one test: health, deliver, lookup and recall as the trial made them. It needs neither network nor simulator; a
simulator may be wrong in the same way as the adapter. Needs pytest with pytest-asyncio in auto mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from hub.contract import Adapter, AdapterInstance
from hub.platform.trial.trying import try_plugin
from hub.testing.cassette import Cassette, replaying

DEPARTMENT = "http://department.invalid"
"""Where the department's system is while cassettes are replayed."""
SECRET = "replayed-secret"  # noqa: S105 - it opens nothing


class RecordedContract:
    """Subclass as `Test…Recorded`; override the class variables."""

    adapter_class: ClassVar[type[Adapter]]
    adapter_settings: ClassVar[staticmethod[[str, str], Mapping[str, object]]]
    """Settings for a base address and a secret."""
    cassettes: ClassVar[Path]
    """The folder of `*.cassette.json`."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each cassette."""
        if "cassette_file" in metafunc.fixturenames:
            files = sorted(self.cassettes.glob("*.cassette.json"))
            metafunc.parametrize("cassette_file", files, ids=[file.name.removesuffix(".cassette.json") for file in files])

    def test_there_is_a_cassette_of_this_plugin(self) -> None:
        """Otherwise nothing is replayed."""
        found = [Cassette.load(file).plugin for file in self.cassettes.glob("*.cassette.json")]
        assert found, f"no *.cassette.json in {self.cassettes}"
        assert set(found) == {self.adapter_class.manifest.name}

    async def test_recorded_exchange_comes_out_the_same(self, cassette_file: Path) -> None:
        """The same requests, and of the recorded answers the same outcome and ticket."""
        cassette = Cassette.load(cassette_file)
        department = replaying(cassette)
        name = self.adapter_class.manifest.name
        settings = dict(self.adapter_settings(DEPARTMENT, SECRET))
        instance = AdapterInstance(name=name, plugin=name, settings=settings)
        trial = await try_plugin(
            self.adapter_class,
            instance,
            assignment=cassette.assignment,
            recall=any(played.call == "recall" for played in cassette.exchanges),
            transport=department,
        )
        department.check_all_played()
        assert (trial.outcome, trial.ticket) == (cassette.outcome, cassette.ticket), trial.text
