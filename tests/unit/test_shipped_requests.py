import re
from collections import Counter
from pathlib import Path

from hub.config.district import load_district
from hub.config.requests import read_requests
from hub.demo import SHIPPED
from hub.model.case.state import Channel
from hub.model.policy.rules import Matter, Plan

DISTRICT = load_district(Path(__file__).parents[2] / "config", environ={})
REQUESTS = read_requests(SHIPPED)


def plan(title: str, text: str, channel: Channel = Channel.HOTLINE) -> Plan:
    area = DISTRICT.locate(f"{title}\n{text}") or DISTRICT.code
    at = REQUESTS[0].created_at
    assert at is not None
    return DISTRICT.policy.plan(Matter(channel=channel, title=title, text=text, area=area), at)


PLANS = {request.id: plan(request.title, request.text) for request in REQUESTS}


def test_there_are_a_few_hundred_and_each_has_a_time_in_order() -> None:
    times = [request.created_at for request in REQUESTS]
    assert len(REQUESTS) >= 300
    assert None not in times
    assert times == sorted(time for time in times if time is not None)
    assert {time.astimezone(DISTRICT.zone).hour for time in times if time is not None} >= {0, 2, 7, 12, 18, 23}


def test_no_two_requests_have_the_same_words() -> None:
    assert max(Counter(request.text for request in REQUESTS).values()) == 1


def test_they_spread_over_nearly_all_categories() -> None:
    met = {found.category for found in PLANS.values()}
    missing = [category.code for category in DISTRICT.policy.categories if category.code not in met]
    assert len(missing) <= 5, missing


def test_few_end_at_the_backstop_and_most_can_be_located() -> None:
    backstop = sum(found.rule.endswith(" backstop") for found in PLANS.values())
    located = sum(DISTRICT.locate(f"{request.title}\n{request.text}") is not None for request in REQUESTS)
    assert 0 < backstop <= len(REQUESTS) * 0.1
    assert located >= len(REQUESTS) * 0.6


def test_nine_reports_and_more_are_of_one_row_of_lamps() -> None:
    lamps = [request for request in REQUESTS if "金尧花园" in request.title + request.text]
    assert sum(PLANS[request.id].category == "P0102" for request in lamps) >= 9


def test_the_four_stories_come_out_right() -> None:
    def ids(place: str, category: str) -> list[str]:
        return [
            request.id
            for request in REQUESTS
            if place in request.title + request.text and PLANS[request.id].category == category
        ]

    assert len(ids("栖云苑", "E0102")) >= 3
    assert len(ids("迈皋桥广场", "E0504")) >= 3
    assert len(ids("枫桥雅居", "E0401")) >= 2
    assert len(ids("杉湖路社区", "E0404")) >= 2
    for id in ids("枫桥雅居", "E0401"):
        assert PLANS[id].dispatch
        assert {target.unit for target in PLANS[id].targets} == {"gas", "police", "property"}


def test_nothing_in_them_looks_like_personal_data() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    rows = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+\+08:00", "", text)
    assert not re.search(r"1[3-9]\d{9}|\d{17}[\dXx]|\d{3,4}-\d{7,8}", rows)
    assert not re.search(r"(我叫|联系人|电话[::]|姓名)", rows)
