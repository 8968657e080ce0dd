"""Chooses the adapter instance for a unit's assignment: by unit, area, category and share of the cases. Pure.

The policy in force owns it, as a table that the roster of instances keeps up to date. The event records the choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from hub.model.district.areas import Unit, within


class Binding(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one enabled instance serves. `areas` and `categories` with all below, empty: all; `percent` of the cases."""

    adapter: str
    units: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    percent: int = 100

    def serves(self, matter: str, area: str, category: str) -> bool:
        """Whether a matter falls to it."""
        return (
            (not self.areas or any(within(area, own) for own in self.areas))
            and (not self.categories or any(category.startswith(own) for own in self.categories))
            and share_of(matter) < self.percent
        )


def share_of(matter: str) -> int:
    """A matter's place in 0 to 99. The same for ever, so that a share is a stable set of matters."""
    return int(hashlib.sha256(matter.encode()).hexdigest()[:8], 16) % 100


def adapter_for(unit: Unit, bindings: Iterable[Binding], *, matter: str, area: str, category: str) -> str | None:
    """The instance for an assignment of `unit`: the narrowest that serves the case, else the unit's own. None: it works in the hub.

    The unit's own instance (config/units.yaml) is passed over when its binding does not serve the case. While it is not enabled at all, it
    is still the unit's, and its assignments wait.
    """
    own: Binding | None = None
    fitting = []
    for binding in bindings:
        if binding.adapter == unit.adapter:
            own = binding
        if (unit.code in binding.units or binding is own) and binding.serves(matter, area, category):
            fitting.append(binding)
    if fitting:
        return min(fitting, key=_breadth).adapter
    return unit.adapter if own is None else None


def _breadth(binding: Binding) -> tuple[bool, bool, int, bool, str]:
    return (not binding.areas, not binding.categories, binding.percent, not binding.units, binding.adapter)
