"""`python -m hub_property.desk`: the desk of `hub_page` for property companies; its environment variables start with PROPERTY_DESK."""

from __future__ import annotations

import sys

from hub_page.desk.command import main

from hub_property.desk import FLAVOUR

if __name__ == "__main__":
    sys.exit(main(FLAVOUR))
