"""One frozen settings object: environment (`HUB_…`, nested by `__`), then hub.toml beside the data, then these defaults.

Read once by the composition root and the CLI; nothing else reads the environment.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from hub.errors import ConfigError


class NatsSettings(BaseModel):
    """The message bus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(None, description="Use this NATS server or cluster; empty: start the embedded one.")
    credentials: Path | None = Field(None, description="NATS credentials file for `url`.")
    port: int = Field(4222, description="Port of the embedded server on 127.0.0.1; a free one is taken when it is in use.")
    host: str = Field(
        "127.0.0.1",
        description="Address of the embedded server; another than loopback lets departments in and needs a certificate.",
    )
    certificate: Path | None = Field(None, description="TLS certificate (PEM) of the embedded server.")
    certificate_key: Path | None = Field(None, description="Its key (PEM).")
    authority: Path | None = Field(
        None, description="Certificate authority (PEM) that departments' adapters trust; empty: exactly the certificate."
    )
    public_url: str | None = Field(
        None, description="How departments' adapters reach the bus, e.g. `tls://hub.example.cn:4222`; empty: the server's own."
    )
    binary: Path | None = Field(None, description="nats-server binary; empty: the newer of PATH's and the bundled one.")
    sync_always: bool = Field(True, description="Flush every message to disk before it is acknowledged (embedded server).")
    replicas: int = Field(1, description="Copies of every stream (3 on a cluster).")
    max_bytes: int = Field(8 * 1024**3, description="Most bytes of the ledger stream; a full ledger refuses, it never drops.")


class ViewsSettings(BaseModel):
    """The read models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(None, description="SQLAlchemy URL; empty: SQLite file `views.db` in the data directory.")


class ApiSettings(BaseModel):
    """The HTTP interface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8600, description="Port; with `--demo` a free one is taken when it is in use.")
    public_url: str | None = Field(None, description="How departments reach the hub for callbacks; empty: http://host:port.")
    max_body: int = Field(12 * 1024**2, description="Largest request body, bytes.")
    rate_per_minute: int = Field(6000, description="Requests a token may make per minute.")


class Settings(BaseSettings):
    """Everything that can be set. Secrets are SecretStr and never printed."""

    model_config = SettingsConfigDict(env_prefix="HUB_", env_nested_delimiter="__", frozen=True, extra="forbid")

    data: Path = Field(Path("data"), description="Directory of everything the hub keeps (embedded server, views, tokens).")
    config: Path = Field(Path("config"), description="Directory of the district's configuration.")
    nats: NatsSettings = Field(default_factory=NatsSettings)
    views: ViewsSettings = Field(default_factory=ViewsSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    routes: dict[str, Any] = Field(
        {},
        description="Settings of what plugins answer beside the API, by its name (`routes.<name>.…`); see the plugin's page.",
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_json: bool = Field(False, description="One JSON object per log line instead of text.")
    token: SecretStr | None = Field(None, description="Token the CLI uses; empty: `admin.token` in the data directory.")
    secrets_key: SecretStr | None = Field(
        None,
        description="Key that seals adapters' secrets, base64 of 32 bytes, the same for all hubs of a bus; empty: `secrets.key` in "
        "the data directory.",
    )
    tracing: bool = Field(True, description="Make spans: into the embedded store, and to OTEL_EXPORTER_OTLP_ENDPOINT if set.")
    cache_cases: int = Field(20_000, description="Cases kept in memory, folded.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line before the environment before `hub.toml` in the data directory (which the first two name)."""
        data = Path(str({**env_settings(), **init_settings()}.get("data", "data")))
        try:
            of_file = TomlConfigSettingsSource(settings_cls, toml_file=data / "hub.toml")
        except tomllib.TOMLDecodeError as problem:
            raise ConfigError(f"not readable as TOML: {problem}", file=str(data / "hub.toml")) from problem
        return init_settings, env_settings, of_file
