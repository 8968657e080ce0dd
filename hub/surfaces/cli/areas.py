"""`hub area generate`: make grids for a division file. Works offline on files. Mounted by `hub.surfaces.cli`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hub.config.district import areas_csv, load_areas
from hub.errors import ConfigError
from hub.model.district.areas import Level
from hub.model.district.areatree import AreaTree
from hub.model.district.grids import HOUSEHOLDS_PER_GRID, generate_grids


def generate(
    divisions: Annotated[Path, typer.Argument(help="CSV with code, name, level, parent, from the district down.")],
    out: Annotated[Path | None, typer.Option(help="Write here; default: standard output.", show_default=False)] = None,
    per_grid: Annotated[int, typer.Option(min=50, help="Households of a residential grid, about.")] = HOUSEHOLDS_PER_GRID,
) -> None:
    """Add grids by the N+X rule to every community without any; households are estimated (see the module hub.model.district.grids)."""
    console = Console(stderr=True, highlight=False)
    try:
        tree = load_areas(divisions)
    except ConfigError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    full = AreaTree([*tree, *generate_grids(tree, per_grid=per_grid)])
    text = areas_csv(full)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
    console.print(
        f"[green]✓[/green] {len(full.at_level(Level.GRID))} grids in {len(full.at_level(Level.COMMUNITY))} communities"
    )
