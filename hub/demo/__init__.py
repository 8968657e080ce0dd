"""The hub shown at work: four departmental simulators, the people of a district, and requests replayed through them.

Everything here uses the public HTTP interface only; nothing of the product depends on it. Called by `hub up --demo`.
"""

from hub.demo.options import DemoOptions

__all__ = ["DemoOptions"]
