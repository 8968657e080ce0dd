"""Links as QR codes: in the terminal, and on a sheet to print and hand out. Pure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import segno

from hub_page.messages import Team


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A team and its personal link."""

    team: Team
    link: str

    @property
    def picture(self) -> str:
        """The link's QR code as SVG."""
        return _code(self.link).svg_inline(scale=4, border=2)


def printed_code(link: str) -> str:
    """A QR code of half-block characters for a terminal."""
    out = io.StringIO()
    _code(link).terminal(out, compact=True, border=2)
    return out.getvalue()


def sheet(title: str, dispatcher: str, entries: Sequence[Entry]) -> str:
    """An HTML page, six teams to a sheet of A4. Who has it has all the pages: print it and delete it."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("hub_page.desk"), autoescape=True, trim_blocks=True)
    return environment.get_template("sheet.html").render(title=title, dispatcher=dispatcher, entries=entries)


def _code(link: str) -> segno.QRCode:
    return segno.make_qr(link, error="m")
