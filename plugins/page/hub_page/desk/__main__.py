"""`python -m hub_page.desk`: the desk for any unit."""

from __future__ import annotations

import sys

from hub_page.desk.command import Flavour, main

if __name__ == "__main__":
    sys.exit(main(Flavour()))
