from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.config.district import load_district
from hub.config.policy import policy_from_sources
from hub.model.answers import AnswerRules, Satisfied, Solved
from hub.model.assignments.state import Role
from hub.model.case.state import Channel, Severity
from hub.model.district.areas import AreaCode, Level, UnitCode
from hub.model.limits.state import DeadlineKind
from hub.model.policy.district import District
from hub.model.policy.rules import LadderAction, Matter, Plan, Rules

DISTRICT = load_district(Path(__file__).parents[2] / "config", environ={})
POLICY = DISTRICT.policy
GRID = AreaCode("320113001001003")
GRID_TEAM = UnitCode(GRID)
NIGHT = datetime(2026, 3, 3, 23, 40, tzinfo=ZoneInfo("Asia/Shanghai"))


def plan(channel: Channel, title: str, text: str = "", area: str = GRID, **given: object) -> Plan:
    matter = Matter(channel=channel, title=title, text=text, area=AreaCode(area), **given)  # type: ignore[arg-type]
    return POLICY.plan(matter, NIGHT)


def units(found: Plan, role: Role, *, required: bool = True) -> set[str]:
    return {target.unit for target in found.targets if target.role is role and target.required is required}


def test_the_policy_answers_what_the_lifecycle_asks() -> None:
    rules: Rules = POLICY
    assert rules.version == 0
    assert POLICY.with_version(7).version == 7
    assert POLICY.with_version(7).plan(Matter(channel=Channel.PATROL, title="路灯不亮", text="", area=GRID), NIGHT) == plan(
        Channel.PATROL, "路灯不亮"
    )


def test_a_blocked_sewer_waits_two_hours_at_the_grid_for_property_and_drainage() -> None:
    found = plan(Channel.RESIDENT, "小区下水道堵塞，污水外溢", "三栋楼下的下水道堵了，污水漫到路面，臭得很。")
    assert (found.category, found.severity, found.level, found.holder) == ("E0102", Severity.ORDINARY, Level.GRID, GRID_TEAM)
    assert not found.dispatch
    assert units(found, Role.LEAD) == {"property"}
    assert units(found, Role.SUPPORT) == {"drainage"}
    limit = POLICY.limit(DeadlineKind.FIRST_RESPONSE, found.category, found.severity)
    assert limit is not None
    assert POLICY.due(NIGHT, limit) - NIGHT == timedelta(hours=2)


def test_noise_at_night_goes_to_the_police_at_once_and_its_clock_runs_through_the_night() -> None:
    found = plan(Channel.HOTLINE, "夜间扰民", "楼下烧烤店音响开到半夜，没法睡觉。", area="320113003009")
    assert found.dispatch
    assert units(found, Role.LEAD) == {"police"}
    assert found.rule.split()[1] == "noise-at-night"
    limit = POLICY.limit(DeadlineKind.ACCEPT, found.category, found.severity)
    assert limit is not None
    assert not limit.working
    assert POLICY.due(NIGHT, limit) - NIGHT == timedelta(minutes=15)


@pytest.mark.parametrize("channel", list(Channel))
def test_smell_of_gas_calls_three_departments_at_once_whatever_the_channel(channel: Channel) -> None:
    found = plan(channel, "楼道里有很重的煤气味", "四楼一开门就闻到，怀疑燃气泄漏")
    assert found.severity is Severity.URGENT
    assert found.dispatch
    assert units(found, Role.LEAD) == {"gas"}
    assert units(found, Role.SUPPORT) == {"police", "property"}
    limit = POLICY.limit(DeadlineKind.ACCEPT, found.category, found.severity)
    assert limit is not None
    assert limit.duration == timedelta(minutes=10)


@pytest.mark.parametrize(("area", "level"), [("320113001", Level.STREET), ("320113", Level.DISTRICT)])
def test_a_planned_outage_is_held_without_dispatch_and_later_reports_attach(area: str, level: Level) -> None:
    found = plan(Channel.DEPARTMENT, "计划停水通知", "因管网检修，明日八时至二十时停水。", area=area)
    assert (found.category, found.level, found.dispatch, found.targets) == ("E0404", level, False, ())
    assert POLICY.covers_attach(found.category)
    assert plan(Channel.HOTLINE, "家里突然停水了").category == found.category
    assert not POLICY.covers_attach("E0102")


def test_an_unclear_matter_goes_to_the_centre() -> None:
    found = plan(Channel.HOTLINE, "……", "无")
    assert (found.rule.split()[1], found.holder, found.dispatch) == ("backstop", "320113", False)


def test_what_the_report_says_wins_over_the_keywords() -> None:
    found = plan(Channel.PATROL, "路灯不亮", category="P0101", severity=Severity.MINOR)
    assert (found.category, found.severity) == ("P0101", Severity.MINOR)


def test_an_unknown_category_or_area_still_gets_a_plan() -> None:
    found = plan(Channel.HOTLINE, "路灯不亮", area="999999", category="nonsense")
    assert (found.category, found.holder) == ("P0102", "320113")


def test_a_title_can_raise_the_severity() -> None:
    assert plan(Channel.RESIDENT, "配电箱冒烟").severity is Severity.URGENT
    assert plan(Channel.RESIDENT, "配电箱门坏了").severity is Severity.ORDINARY
    assert plan(Channel.RESIDENT, "灶台打不着火").severity is Severity.ORDINARY


def test_small_matters_stay_low_and_emergencies_are_settled_no_lower_than_the_street() -> None:
    assert POLICY.settle_level("P0102", Severity.MINOR) is Level.GRID
    assert POLICY.top_level("P0102", Severity.MINOR) is Level.COMMUNITY
    assert POLICY.settle_level("E0401", Severity.URGENT) is Level.STREET
    assert POLICY.top_level("E0102", Severity.ORDINARY) is Level.DISTRICT


def test_limits_come_from_the_category_first() -> None:
    def words(category: str, severity: Severity) -> str | None:
        limit = POLICY.limit(DeadlineKind.RESOLVE, category, severity)
        return limit.words if limit else None

    assert words("E0404", Severity.ORDINARY) == "24h"
    assert words("E0404", Severity.URGENT) == "2h"
    assert words("H0105", Severity.ORDINARY) == "7d"
    assert words("H0104", Severity.MAJOR) == "15d"


@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("kind", list(DeadlineKind))
def test_every_severity_has_every_limit_and_a_ladder(kind: DeadlineKind, severity: Severity) -> None:
    limit = POLICY.limit(kind, "H9999", severity)
    assert limit is not None
    assert limit.duration > timedelta(0)
    steps = POLICY.ladder(severity)
    assert steps[0].action is LadderAction.URGE
    assert [step.after for step in steps] == sorted(step.after for step in steps)


def test_a_unit_finishes_before_the_whole_is_due() -> None:
    for category in POLICY.categories:
        for severity in Severity:
            finish = POLICY.limit(DeadlineKind.FINISH, category.code, severity)
            whole = POLICY.limit(DeadlineKind.RESOLVE, category.code, severity)
            assert finish is not None
            assert whole is not None
            start = datetime(2026, 3, 2, 9, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
            assert POLICY.due(start, finish) <= POLICY.due(start, whole), (category.code, severity)


@given(
    kind=st.sampled_from(DeadlineKind),
    severity=st.sampled_from(Severity),
    start=st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2027, 1, 1)),  # noqa: DTZ001
    share=st.floats(min_value=0.0, max_value=0.95),
)
def test_the_time_left_leads_back_to_the_same_limit(
    kind: DeadlineKind, severity: Severity, start: datetime, share: float
) -> None:
    start = start.replace(tzinfo=UTC)
    limit = POLICY.limit(kind, "H9999", severity)
    assert limit is not None
    due = POLICY.due(start, limit)
    now = start + (due - start) * share
    left = POLICY.left(now, due, limit)
    assert left >= timedelta(0)
    if left:
        shorter = type(limit)(kind=kind, duration=left, working=limit.working, words="")
        assert POLICY.due(now, shorter) == due


def test_reporters_are_visited_unless_nobody_outside_waits() -> None:
    assert POLICY.visit_required(Channel.HOTLINE, "E0504", Severity.ORDINARY)
    assert POLICY.visit_required(Channel.RESIDENT, "E0102", Severity.ORDINARY)
    assert not POLICY.visit_required(Channel.DEVICE, "P0101", Severity.MAJOR)


def test_what_answers_come_to_is_in_limits_yaml() -> None:
    assert POLICY.reopens(Solved.PARTLY, Satisfied.YES)
    assert not POLICY.reopens(Solved.YES, Satisfied.MOSTLY)
    assert POLICY.answers == AnswerRules(), "the file says what holds without it"


def test_authorities_are_the_configured_levels() -> None:
    assert POLICY.authority("suspension") is Level.STREET
    assert POLICY.authority("void") is Level.COMMUNITY
    assert POLICY.authority("anything else") is Level.DISTRICT


def test_duplicate_windows_come_from_the_category() -> None:
    assert POLICY.duplicate_window("P0102") == timedelta(days=7)
    assert POLICY.duplicate_window("E0102") == timedelta(hours=72)
    assert POLICY.duplicate_window("H9901") is None
    assert POLICY.duplicate_window("unknown") is None


def test_an_explanation_names_every_rule_looked_at_and_the_line_that_decided() -> None:
    matter = Matter(channel=Channel.HOTLINE, title="夜间扰民", text="广场舞音响太吵", area=GRID)
    found = POLICY.explain(matter, NIGHT)
    assert found.plan == POLICY.plan(matter, NIGHT)
    assert [looked.fits for looked in found.looked] == [False] * (len(found.looked) - 1) + [True]
    decided = found.looked[-1]
    file, _, line = decided.where.partition(":")
    text = POLICY.sources[f"policy/{file}"].splitlines()[int(line) - 1]
    assert decided.rule == "noise-at-night"
    assert "noise-at-night" in text
    assert found.plan.rule == f"{decided.where} {decided.rule}"
    assert found.category_path == ("街面秩序", "噪声扰民")
    assert found.area_path == ("栖霞区", "尧化街道", "尧化社区居委会", "第3网格")
    assert len(found.limits) == len(DeadlineKind)
    assert any("夜间扰民" in line for line in found.plan.because)


def test_a_published_policy_reads_back_the_same() -> None:
    again = policy_from_sources(dict(POLICY.sources), DISTRICT.areas, DISTRICT.directory, version=3)
    assert again.version == 3
    assert again.sources == POLICY.sources
    matter = Matter(channel=Channel.RESIDENT, title="小区下水道堵塞", text="", area=GRID)
    assert again.plan(matter, NIGHT) == POLICY.plan(matter, NIGHT)


@given(
    channel=st.sampled_from(Channel),
    title=st.text(max_size=30),
    text=st.text(max_size=200),
    area=st.sampled_from([area.code for area in DISTRICT.areas]),
)
def test_every_matter_gets_a_plan_and_always_the_same(channel: Channel, title: str, text: str, area: AreaCode) -> None:
    matter = Matter(channel=channel, title=title, text=text, area=area)
    found = POLICY.plan(matter, NIGHT)
    assert found == POLICY.plan(matter, NIGHT)
    assert POLICY.is_category(found.category)
    holder = POLICY.unit(found.holder)
    assert holder is not None
    assert holder.level is found.level
    assert area.startswith(found.holder)
    assert not found.dispatch or units(found, Role.LEAD)


def test_routing_a_request_costs_less_than_ten_thousand_additions() -> None:
    """Measured against plain Python in the same run, for machines differ and others work on them meanwhile."""
    matter = Matter(
        channel=Channel.HOTLINE, title="小区下水道堵塞，物业不管", text="已经向物业反映多次，一直没人来。" * 20, area=GRID
    )
    took = min(_seconds(lambda: POLICY.plan(matter, NIGHT)) for _ in range(200))
    assert took < min(_seconds(lambda: sum(one + 1 for one in range(10_000))) for _ in range(200))


def _seconds(work: Callable[[], object]) -> float:
    started = process_time()
    work()
    return process_time() - started


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("A1区朝阳街道路灯不亮", "320113001"),
        ("A市公交线路建议", "320113"),
        ("家住A市A3区某小区", "320113003"),
        ("王子楼社区居委会门口积水", "320113001016"),
        ("王子楼那边积水", "320113001016"),
        ("王子楼社区第3网格积水", "320113001016003"),
        ("尧化街道金尧花园社区", "320113001009"),
        ("尧化街道办事处旁边", "320113001"),
        ("栖霞区的停车", "320113"),
        ("站在十字街头努力奋斗", None),
        ("龙潭街道太平村的路坏了", "320113006213"),
        ("太平村的路坏了", "320113"),
        ("栖霞大道上有坑", None),
        ("", None),
    ],
)
def test_the_most_specific_place_named_is_found(text: str, code: str | None) -> None:
    assert DISTRICT.locate(text) == code


def test_each_own_name_finds_its_area() -> None:
    district: District = DISTRICT
    for area in district.areas.at_level(Level.STREET):
        assert district.locate(area.name) == area.code
    for area in district.areas.at_level(Level.COMMUNITY):
        street = district.areas.parent(area.code)
        assert street is not None
        assert district.locate(f"{street.name}{area.name}") == area.code
