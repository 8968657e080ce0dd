"""The `hub` command: everything over the HTTP interface, besides what starts or mends a hub on this machine.

Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 wrong usage. With `--json` stdout holds one JSON
value and nothing else.
"""

from __future__ import annotations

import functools
import sys

import typer

from hub.model.case import CASE
from hub.surfaces.cli.adapters.grading import add_grading
from hub.surfaces.cli.adapters.instances import adapter_app
from hub.surfaces.cli.adapters.plugins import plugin_app
from hub.surfaces.cli.adapters.remote import creds_app
from hub.surfaces.cli.adapters.remote import run as run_adapter
from hub.surfaces.cli.adapters.trial import add_trying
from hub.surfaces.cli.cases import case_app, trace
from hub.surfaces.cli.days import days
from hub.surfaces.cli.deliveries import delivery_app
from hub.surfaces.cli.extra import add_own_commands, extended
from hub.surfaces.cli.generated import add_commands
from hub.surfaces.cli.lookups import area_app, generate, status, unit_app
from hub.surfaces.cli.people.keys import key_app
from hub.surfaces.cli.people.tokens import token_app
from hub.surfaces.cli.policy import policy_app
from hub.surfaces.cli.run import ledger_app, secrets_app, up, views_app
from hub.surfaces.cli.session import asks_hub
from hub.surfaces.cli.upkeep.reconciliation import add_reconciling
from hub.surfaces.cli.upkeep.repairs import repair_app


def _built() -> typer.Typer:
    """The command tree; called once."""
    tree = typer.Typer(
        name="hub",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Integration hub of a city command centre: cases go up four levels and out to departments. 一网统管联动中枢",
    )
    tree.command("up")(up)
    asks_hub(tree, "trace", example="hub trace 320113001001001-0f3k9m2p7q --width 160")(trace)
    asks_hub(tree, "status", example="hub status --json")(status)
    add_commands(case_app, CASE, "cases")
    add_grading(plugin_app)
    add_reconciling(adapter_app)
    add_trying(adapter_app)
    area_app.command("generate")(generate)
    policy_app.command("days")(days)
    adapter_app.command("run")(run_adapter)
    adapter_app.add_typer(creds_app, name="creds")
    for name, group in (
        ("case", case_app),
        ("area", area_app),
        ("unit", unit_app),
        ("adapter", adapter_app),
        ("plugin", plugin_app),
        ("delivery", delivery_app),
        ("repair", repair_app),
        ("policy", policy_app),
        ("token", token_app),
        ("key", key_app),
        ("views", views_app),
        ("ledger", ledger_app),
        ("secrets", secrets_app),
    ):
        tree.add_typer(group, name=name)
    return tree


app = _built()
"""The command line without what others add to it."""


@functools.cache
def whole() -> typer.Typer:
    """The whole command line of what ships: for the generated documentation and tests."""
    tree = _built()
    add_own_commands(tree)
    return tree


def main() -> None:
    """Entry point of the `hub` command."""
    if sys.argv[1:2] == ["up"] and "--demo" in sys.argv:
        sys.argv = [sys.argv[0], "demo", *(word for word in sys.argv[2:] if word != "--demo")]
    problem = extended(app, sys.argv[1:])
    if problem is not None:
        typer.echo(f"hub: {problem}", err=True)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `hub case list | head`: the reader has what it wants
        sys.stderr.close()
        sys.exit(0)
