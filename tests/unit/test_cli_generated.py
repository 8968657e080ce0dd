"""What the generated commands say."""

from typing import Any

import pytest

from hub.cli.generated import told


@pytest.mark.parametrize(
    ("events", "fields", "said"),
    [
        (["assignment.returned"], {}, "✓ C return 已派单"),
        (["assignment.report_conflicted"], {}, "! C return 已派单 （与现状不符，已记录，未改变）"),
        ([], {}, "✓ C return 已派单 （无变化）"),
        (["permission.asked"], {"asked": [{"id": "q1"}]}, "✓ C ask 已派单 （申请 q1）"),
    ],
)
def test_what_a_command_came_to_is_said_as_it_is(events: list[str], fields: dict[str, Any], said: str) -> None:
    answer = {"case": {"id": "C", "stage": "dispatched", **fields}, "events": events, "repeated": False}
    assert told("ask" if fields else "return", "C", answer) == said
