"""A data directory is one hub's at a time."""

from pathlib import Path

import pytest

from hub.data_lock import alone_in
from hub.errors import ConfigError


def test_a_run_knows_the_run_before_it_in_the_same_directory(tmp_path: Path) -> None:
    with alone_in(tmp_path) as first:
        assert first.former == ""
    with alone_in(tmp_path) as second:
        assert second.former == first.id
        assert second.id != first.id
    with alone_in(tmp_path) as third:
        assert third.former == second.id


def test_a_second_hub_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with alone_in(tmp_path) as first, pytest.raises(ConfigError, match="another hub runs on"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path) as after:
        assert after.former == first.id
