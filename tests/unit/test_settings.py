"""Where a setting comes from: command line, environment, hub.toml in the data directory, default; unknown names are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hub.errors import ConfigError
from hub.settings import Settings


def test_environment_comes_before_the_file_and_the_file_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub.toml").write_text('log_level = "debug"\n[api]\nport = 9000\nhost = "0.0.0.0"\n[nats]\nport = 5000\n')
    monkeypatch.setenv("HUB_API__PORT", "9001")
    settings = Settings(data=tmp_path, log_level="error")
    assert settings.log_level == "error"
    assert settings.api.port == 9001
    assert settings.api.host == "0.0.0.0"
    assert settings.nats.port == 5000
    assert settings.nats.sync_always is True


def test_the_data_directory_of_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub.toml").write_text("cache_cases = 7\n")
    monkeypatch.setenv("HUB_DATA", str(tmp_path))
    assert Settings().cache_cases == 7


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("log_levle = 'info'\n")
    with pytest.raises(ValidationError, match="log_levle"):
        Settings(data=tmp_path)


def test_a_secret_is_never_printed(tmp_path: Path) -> None:
    assert "hub_secret" not in repr(Settings(data=tmp_path, token="hub_secret"))


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("x = [1")
    with pytest.raises(ConfigError, match=r"hub\.toml: not readable as TOML"):
        Settings(data=tmp_path)
