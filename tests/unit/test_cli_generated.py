"""What commands say of what came of them, and of what was typed."""

from datetime import UTC
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from hub.surfaces.cli.generated import told
from hub.surfaces.cli.session import Session


@pytest.mark.parametrize(
    ("events", "fields", "said"),
    [
        (["assignment.returned"], {}, "✓ C return 已派单"),
        (["assignment.feedback_conflicted"], {}, "! C return 已派单 （与现状不符，已记录，未改变）"),
        ([], {}, "✓ C return 已派单 （无变化）"),
        (["permission.asked"], {"asked": [{"id": "q1"}]}, "✓ C ask 已派单 （申请 q1）"),
    ],
)
def test_what_a_command_came_to_is_said_as_it_is(events: list[str], fields: dict[str, Any], said: str) -> None:
    answer = {"case": {"id": "C", "stage": "dispatched", **fields}, "events": events, "repeated": False}
    assert told("ask" if fields else "return", "C", answer) == said


def test_time_that_is_none_is_refused_by_the_name_of_its_option() -> None:
    with pytest.raises(typer.BadParameter) as refusal:
        Session.time_of(cast("Session", SimpleNamespace(zone=UTC)), "yesterday", "--since")
    assert refusal.value.param_hint == "--since"
