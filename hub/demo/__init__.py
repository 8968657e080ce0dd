"""The hub shown at work: four departmental simulators, the people of a district, and requests replayed through them.

Everything here uses the public HTTP interface only; nothing of the product depends on it. The command line calls `hub.demo.run.run`.
"""

from hub.demo.options import SHIPPED, DemoOptions

__all__ = ["SHIPPED", "DemoOptions"]
