"""One frozen settings object: environment (`HUB_…`, nested by `__`), then hub.toml beside the data, then these defaults.

Read once by the composition root and the CLI; nothing else reads the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


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


class Open311Value(BaseModel):
    """One choice of a list attribute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    name: str


class Open311Attribute(BaseModel):
    """One question of a service definition (GeoReport v2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")
    description: str
    datatype: Literal["string", "number", "datetime", "text", "singlevaluelist", "multivaluelist"] = "string"
    required: bool = False
    variable: bool = True
    datatype_description: str = ""
    values: tuple[Open311Value, ...] = ()


class Open311Settings(BaseModel):
    """The Open311 GeoReport v2 server at /open311."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="Serve /open311.")
    jurisdiction_id: str | None = Field(
        None, description="Name of the jurisdiction besides the district's code, e.g. `city.gov`."
    )
    anonymous: bool = Field(
        False, description="Take reports without an api_key, at most `anonymous_per_minute` from an address."
    )
    anonymous_per_minute: int = Field(5, ge=1, description="Reports without an api_key that one address may send in a minute.")
    publish: Literal["open311", "all"] = Field(
        "open311", description="Which cases anybody may read: those that came by Open311, or all that are not `sensitive`."
    )
    sensitive: tuple[str, ...] = Field(
        ("H",),
        description="Beginnings of category codes whose cases are not listed and never show text or place without a key.",
    )
    services: tuple[str, ...] = Field((), description="Beginnings of category codes that are offered; empty: all.")
    contact: str = Field("", description="Discovery: how to reach who runs this; empty: the district's name.")
    key_service: str = Field("", description="Discovery: how to get an api_key; empty: ask the contact.")
    attributes: dict[str, tuple[Open311Attribute, ...]] = Field(
        {}, description="Questions by beginning of category code (`*`: every service) instead of the built-in ones."
    )


class Settings(BaseSettings):
    """Everything that can be set. Secrets are SecretStr and never printed."""

    model_config = SettingsConfigDict(env_prefix="HUB_", env_nested_delimiter="__", frozen=True, extra="forbid")

    data: Path = Field(Path("data"), description="Directory of everything the hub keeps (embedded server, views, tokens).")
    config: Path = Field(Path("config"), description="Directory of the district's configuration.")
    nats: NatsSettings = Field(default_factory=NatsSettings)
    views: ViewsSettings = Field(default_factory=ViewsSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    open311: Open311Settings = Field(default_factory=Open311Settings)
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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=data / "hub.toml")
