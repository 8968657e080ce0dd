"""The read models: the projector folds commits into SQL, `Views` answers questions from it. Rebuilt from the ledger at any time."""

from hub.views.deliveries import DeliveryFilter, DeliveryPage, SeenDelivery
from hub.views.projection import CASES, Projection
from hub.views.projector import Commits, Overtaken, Projector
from hub.views.queries import (
    EVERYTHING,
    CaseFilter,
    Page,
    Scope,
    SeenCase,
    Sort,
    TimelineEntry,
)
from hub.views.summary import Latency, Summary, UnitFigures
from hub.views.views import Views

__all__ = [
    "CASES",
    "EVERYTHING",
    "CaseFilter",
    "Commits",
    "DeliveryFilter",
    "DeliveryPage",
    "Latency",
    "Overtaken",
    "Page",
    "Projection",
    "Projector",
    "Scope",
    "SeenCase",
    "SeenDelivery",
    "Sort",
    "Summary",
    "TimelineEntry",
    "UnitFigures",
    "Views",
]
