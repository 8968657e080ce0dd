"""`hub token issue|list|revoke`: who may call the hub."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from hub.surfaces.cli.client import items_of, segment
from hub.surfaces.cli.session import Session, Yes, asks_hub
from hub.surfaces.cli.tables import table, when

token_app = typer.Typer(no_args_is_help=True, help="API tokens.")


@asks_hub(token_app, "issue", example="hub token issue --name 张班长 --role grid_worker --unit 320113001001001")
def issue(
    session: Session,
    name: Annotated[str, typer.Option(help="Whose it is.", show_default=False)],
    role: Annotated[
        str, typer.Option(help="admin, operator, clerk, grid_worker, department, devops or viewer.", show_default=False)
    ],
    unit: Annotated[str | None, typer.Option(help="The unit it acts for.", show_default=False)] = None,
    area: Annotated[str | None, typer.Option(help="Area it is limited to.", show_default="the unit's own, else yours")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Only this of what its role may; may be repeated.", show_default=False)
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Until when: ISO time.", show_default=False)] = None,
) -> None:
    """Issue a token. It is shown this once; the hub keeps only its hash."""
    given = (("name", name), ("role", role), ("unit", unit), ("area", area), ("scopes", scope))
    body: dict[str, object] = {field: value for field, value in given if value}
    if expires is not None:
        body["expires_at"] = session.time_of(expires, "--expires").isoformat()
    session.answer(session.api.post("/tokens", body), lambda found: Text(str(found.get("token", ""))))


@asks_hub(token_app, "list", example="hub token list")
def list_tokens(session: Session) -> None:
    """List the tokens (never the tokens themselves)."""
    answer = session.api.get("/tokens")
    session.answer(
        answer,
        lambda found: table(
            items_of(found),
            (
                ("编号", "id"),
                ("名称", "name"),
                ("角色", "role"),
                ("单位", "unit"),
                ("区划", "area"),
                ("权限", lambda row: "全部" if row.get("scopes") is None else "、".join(row["scopes"])),
                ("签发时间", when("issued_at", session.zone)),
                ("到期", when("expires_at", session.zone)),
                ("最近使用", when("last_used_at", session.zone)),
            ),
        ),
    )


@asks_hub(token_app, "revoke", example="hub token revoke 3f9c1a2b4d5e6f70 --yes")
def revoke(
    session: Session, id: Annotated[str, typer.Argument(help="The token's id, from the list.")], yes: Yes = False
) -> None:
    """Revoke a token at once."""
    session.confirm(f"Revoke token {id}?", yes=yes)
    session.answer(session.api.delete(f"/tokens/{segment(id)}"), lambda _: f"✓ {id} 已吊销")
