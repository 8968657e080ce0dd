"""`hub adapter run` and `hub adapter creds …`: an adapter beside its department, and the keys by which it connects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hub.surfaces.cli.client import Failure, segment
from hub.surfaces.cli.session import Session, Yes, asks_hub
from hub.surfaces.cli.tables import table, when

creds_app = typer.Typer(no_args_is_help=True, help="Keys of adapters that run elsewhere.")

Name = Annotated[str, typer.Argument(metavar="ADAPTER", help="Name of the adapter instance.")]


def run(
    name: Name,
    creds: Annotated[Path, typer.Option(help="Credentials file from `hub adapter creds issue`.", show_default=False)],
    settings: Annotated[
        Path | None,
        typer.Option(help="YAML file of the form of config/adapters.yaml, on this machine.", show_default="none needed"),
    ] = None,
    plugin: Annotated[
        str | None, typer.Option(help="Plugin, when the file does not say.", show_default="as the adapter")
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="Directory of the journal; must outlive restarts.")] = Path(
        "adapter-data"
    ),
    callback_host: Annotated[str, typer.Option(help="Address to listen on for callbacks.")] = "127.0.0.1",
    callback_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on for callbacks.", show_default="none")
    ] = None,
    callback_url: Annotated[str, typer.Option(help="How the department reaches that port.", show_default=False)] = "",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run an adapter beside its department until stopped; the hub may be away for as long as it likes.

    Example: hub adapter run water --creds water.creds --settings adapters.yaml --data /var/lib/hub-adapter
    """
    from hub.platform.remote.far.program import Options
    from hub.platform.remote.far.program import run as work

    options = Options(
        name=name,
        credentials=creds,
        settings=settings,
        plugin=plugin,
        data=data,
        callback_host=callback_host,
        callback_port=callback_port,
        callback_url=callback_url,
        log_level=log_level,
    )
    raise typer.Exit(work(options))


@asks_hub(creds_app, "issue", example="hub adapter creds issue water --out water.creds")
def issue(
    session: Session,
    name: Name,
    out: Annotated[Path, typer.Option("--out", help="File to write, readable by its owner only.", show_default=False)],
    note: Annotated[str, typer.Option(help="What for; kept with the key.", show_default=False)] = "",
) -> None:
    """Issue a key and write the credentials file. Keys there are go on working: rotate by issuing, exchanging, revoking."""
    from hub.platform.remote.credentials_file import CredentialsFile, write_credentials

    if out.exists():
        raise Failure(f"{out} exists; it is not overwritten")
    found = session.api.post(f"/adapters/{segment(name)}/credentials", {"note": note})
    file = msgspec.convert(found["file"], CredentialsFile)
    try:
        write_credentials(out, file)
    except OSError as problem:
        raise Failure(f"{out}: {problem.strerror}; the key {file.user} was issued all the same: revoke it") from problem
    _configure(found)
    session.answer({"file": str(out), "adapter": file.adapter, "user": file.user}, lambda _: f"✓ {out}（{file.user}）")


@asks_hub(creds_app, "list", example="hub adapter creds list water")
def list_keys(session: Session, name: Name) -> None:
    """List the keys of an adapter, never their secret halves."""
    found = session.api.get(f"/adapters/{segment(name)}/credentials")
    _configure(found)
    columns = (
        ("公钥", "user"),
        ("签发时间", when("issued_at", session.zone)),
        ("签发者", "issued_by"),
        ("说明", "note"),
    )
    session.answer(found, lambda answer: table(answer["items"], columns))


@asks_hub(creds_app, "revoke", example="hub adapter creds revoke water --yes")
def revoke(
    session: Session,
    name: Name,
    user: Annotated[str | None, typer.Option(help="Only this key (U…).", show_default="all of the adapter's")] = None,
    yes: Yes = False,
) -> None:
    """Take keys back; whoever uses them is cut off at once."""
    session.confirm(f"Revoke {user or 'all keys'} of {name}?", yes=yes)
    path = f"/adapters/{segment(name)}/credentials" + (f"?user={segment(user)}" if user else "")
    found = session.api.delete(path)
    _configure(found)
    session.answer(found, lambda answer: f"✓ {answer['revoked']} 个密钥已吊销")


def _configure(found: dict[str, Any]) -> None:
    """With a server of one's own: what its configuration has to say from now on, on stderr."""
    if found.get("server_configuration"):
        sys.stderr.write(
            f"# put into the accounts block of nats-server's configuration, and reload it:\n{found['server_configuration']}\n"
        )
