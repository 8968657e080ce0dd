"""`hub key list|issue|revoke`: a department's own keys with scopes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from hub.surfaces.cli.client import segment
from hub.surfaces.cli.session import Session, Yes, asks_hub
from hub.surfaces.cli.tables import table, when

key_app = typer.Typer(no_args_is_help=True, help="Keys of departments: narrow tokens they issue and revoke themselves.")

_SCOPES = "cases:read, cases:report, contact:read, feedback:write, deliveries:read, deliveries:resend, keys"


@asks_hub(key_app, "list", example="hub key list")
def list_keys(
    session: Session, unit: Annotated[str | None, typer.Option(help="Only of this unit.", show_default=False)] = None
) -> None:
    """List the keys of your unit (never the keys themselves)."""
    session.answer(
        session.api.get("/keys", unit=unit),
        lambda found: table(
            found["items"],
            (
                ("编号", "id"),
                ("名称", "name"),
                ("单位", "unit"),
                ("权限", lambda row: "全部" if row.get("scopes") is None else "、".join(row["scopes"])),
                ("签发时间", when("issued_at", session.zone)),
                ("签发者", "issued_by"),
                ("到期", when("expires_at", session.zone)),
                ("最近使用", when("last_used_at", session.zone)),
            ),
        ),
    )


@asks_hub(key_app, "issue", example="hub key issue --name 工单系统 --scope cases:read --scope deliveries:read")
def issue(
    session: Session,
    name: Annotated[str, typer.Option(help="What it is for.", show_default=False)],
    scope: Annotated[list[str], typer.Option(help=f"May be repeated: {_SCOPES}.", show_default=False)],
    expires: Annotated[
        str | None, typer.Option(help="Until when: ISO time, the district's unless it has an offset.", show_default=False)
    ] = None,
    unit: Annotated[str | None, typer.Option(help="The department; only administrators say it.", show_default=False)] = None,
) -> None:
    """Issue a key, never wider than your own token. It is shown this once; the hub keeps only its hash."""
    body: dict[str, object] = {"name": name, "scopes": scope}
    if expires is not None:
        body["expires_at"] = session.time_of(expires, "--expires").isoformat()
    if unit is not None:
        body["unit"] = unit
    session.answer(session.api.post("/keys", body), lambda found: Text(str(found.get("token", ""))))


@asks_hub(key_app, "revoke", example="hub key revoke 3f9c1a2b4d5e6f70 --yes")
def revoke(
    session: Session,
    id: Annotated[str, typer.Argument(help="The key's id, from the list.")],
    issued: Annotated[bool, typer.Option("--issued", help="Also every key that was issued with it.")] = False,
    yes: Yes = False,
) -> None:
    """Revoke a key at once."""
    session.confirm(f"Revoke key {id}?", yes=yes)
    path = f"/keys/{segment(id)}" + ("?issued=true" if issued else "")
    session.answer(session.api.delete(path), lambda _: f"✓ {id} 已吊销")
