import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from hub.config.district import OutsideValue, check_district, load
from hub.contract import FeedbackKind
from hub.errors import ConfigError
from hub.model.district.areas import Unit, UnitKind

SHIPPED = Path(__file__).parents[2] / "config"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "config"))


def edit(directory: Path, file: str, old: str, new: str) -> int:
    """Replace `old` once and give the line where it stood."""
    path = directory / file
    text = path.read_text(encoding="utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def test_the_shipped_directory_is_a_whole_district() -> None:
    configured = load(SHIPPED, environ={})
    district = configured.district
    assert (district.code, district.name, district.zone.key) == ("320113", "栖霞区", "Asia/Shanghai")
    assert [instance.name for instance in configured.adapters] == ["hotline", "police", "property", "utilities"]
    assert not any(instance.enabled for instance in configured.adapters)
    departments: dict[str, Unit] = {unit.code: unit for unit in district.directory.departments}
    assert departments["gas"].adapter == "utilities"
    assert departments["city_management"].adapter is None
    assert all(unit.kind is UnitKind.DEPARTMENT and unit.serves("320113001001001") for unit in departments.values())
    assert district.places["A1区"] == "320113001"


def test_a_check_warns_of_years_without_announced_holidays() -> None:
    checked = check_district(SHIPPED, {}, today=date(2098, 1, 1))
    assert checked.problems == ()
    assert any("2098" in warning for warning in checked.warnings)


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "words"),
    [
        ("policy/routing.yaml", "lead: [water]", "lead: [wather]", "lead", "no unit has the code 'wather'"),
        ("policy/routing.yaml", "channel: department", "channel: departement", "channel", "is not one of"),
        ("policy/routing.yaml", "category: E0401", "category: X0401", "category", "no category starts with"),
        ("policy/routing.yaml", "dispatch: hold", "dispatch: later", "dispatch", "now or hold is expected"),
        ("policy/routing.yaml", "- id: fire\n", "- id: gas-leak\n", "rules", "given twice"),
        (
            "policy/routing.yaml",
            "- id: backstop\n    when: {}",
            "- id: backstop\n    when: {category: P}",
            "",
            "must fit everything",
        ),
        ("policy/routing.yaml", "lead: [drainage]", "leads: [drainage]", "leads", "(did you mean lead?)"),
        ("policy/routing.yaml", "lead: [water]", "lead: [water, {unit: water}]", "lead.1", "named twice in rule"),
        ("policy/routing.yaml", "lead: [water]", "lead: {unit: water}", "lead", "a list is expected"),
        ("policy/routing.yaml", "any: [", "any: [[a], ", "any.0", "a text is expected"),
        ("policy/routing.yaml", "  hotline: {level: street, dispatch: now}\n", "", "entry", "key 'hotline' is missing"),
        ("policy/limits.yaml", "first_response: 15m", "first_response: soon", "first_response", "not a duration"),
        ("policy/limits.yaml", "    resolve: 2h ", "    resolved: 2h ", "resolved", "unknown key"),
        ("policy/limits.yaml", '"09:00-12:00"', '"09:00-8:00"', "hours", "09:00-12:00"),
        ("policy/limits.yaml", "    resolve: 2h ", "    resolve: 0 ", "resolve", "longer than zero"),
        (
            "policy/limits.yaml",
            "channel: [hotline]",
            "area: 320113",
            "area",
            "unknown key; known here: category, channel, severity",
        ),
        ("policy/limits.yaml", "solved: [partly, no]", "solved: [partly, nope]", "answers", "is not one of 'yes', 'partly'"),
        (
            "policy/limits.yaml",
            "{counted: [yes], of: [yes, partly, no]}",
            "{counted: [yes], of: [no]}",
            "resolution",
            "not in `of`",
        ),
        ("policy/limits.yaml", "{counted: [yes], of: [yes, partly, no]}", "{of: [no]}", "resolution", "'counted' is missing"),
        ("policy/limits.yaml", "E0409:", "E9409:", "E9409", "no category starts with"),
        ("policy/ladder.yaml", "{after: 15m, action: escalate}", "{after: 0, action: escalate}", "urgent", "must ascend"),
        ("policy/ladder.yaml", "  void: community\n", "", "authority", "'void' is missing"),
        ("policy/ladder.yaml", "action: supervise", "action: shout", "action", "is not one of"),
        ("policy/categories.yaml", "default: H9999", "default: H9998", "default", "no category has the code"),
        (
            "policy/categories.yaml",
            "P0102: {name: 路灯故障, severity: minor",
            "P0102: {name: 路灯故障, severity: small",
            "severity",
            "is not one of",
        ),
        ("policy/categories.yaml", "      P0103:", "      P0102:", "P0102", "key given twice"),
        (
            "policy/categories.yaml",
            "minor: {settle: grid, top: community}",
            "minor: {settle: district, top: grid}",
            "minor",
            "nobody could",
        ),
        ("policy/categories.yaml", "[井盖, 窨井盖,", "[井盖, 井盖,", "classes", "twice"),
        ("policy/categories.yaml", "      P0103:", "      P0203:", "P0203", "not a minor code of P01"),
        ("policy/categories.yaml", "  P02:\n", "  PX:\n", "PX", "not a major code"),
        ("policy/categories.yaml", "    where: title", "    where: heading", "where", "title or anywhere is expected"),
        ("units.yaml", "  water: {", "  Water: {", "Water", "not a department's code"),
        ("units.yaml", "{name: 城管}", "{name: 城管, areas: []}", "areas", "at least 1 item"),
        ("units.yaml", "{name: 城管}", "城管", "city_management", "a mapping is expected"),
        ("units.yaml", "{name: 城管}", "{}", "city_management", "key 'name' is missing"),
        ("units.yaml", "adapter: police", "adapter: policy", "adapter", "no adapter instance"),
        ("units.yaml", "{name: 城管}", "{name: 城管, areas: [320114]}", "areas", "no area has the code"),
        ("adapters.yaml", "attempts: 10", "attempts: none", "attempts", "valid integer"),
        ("adapters.yaml", "cap: 30m", "cap: 1s", "backoff", "cap is below base"),
        ("adapters.yaml", "ratio: 0.5", "ratio: 5", "ratio", "less than or equal to 1"),
        ("adapters.yaml", "open_for: 30s", "open_for: 3 working days", "open_for", "working time"),
        ("adapters.yaml", "  hotline:\n", "  hot line:\n", "hot line", "not an instance's name"),
        ("adapters.yaml", "enabled: false", "enabled: maybe", "enabled", "valid boolean"),
        ("district.yaml", "zone: Asia/Shanghai", "zone: Asia/Nanjing", "zone", "not a time zone"),
        ("district.yaml", 'code: "320113"', 'code: "320114"', "code", "describes district 320113"),
        ("places.csv", "A2区,320113002", "A2区,320119002", "area", "no area has the code"),
        ("places.csv", "A2区,", "A1区,", "name", "given twice"),
        ("areas.csv", "320113002,马群街道,street", "320113002,,street", "name", "no name"),
        ("areas.csv", ",residential,", ",rural,", "grid_kind", "is not one of 'residential' or 'commercial'"),
        ("areas.csv", "320113002,马群街道,street,320113", "320113002,马群街道,street,320114", "parent", "not the district"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(directory: Path, file: str, old: str, new: str, key: str, words: str) -> None:
    line = edit(directory, file, old, new)
    problems = [problem for problem in check_district(directory, {}).problems if words in problem.reason]
    assert problems, check_district(directory, {}).problems
    problem = problems[0]
    assert problem.file == file
    assert key in (problem.key or "")
    assert problem.line is not None
    if key not in ("", "authority", "classes", "urgent", "backoff", "hours", "entry"):
        assert line <= problem.line <= line + 1
    with pytest.raises(ConfigError, match=r"^" + file):
        load(directory, environ={})


def test_a_rule_nothing_can_reach_is_named(directory: Path) -> None:
    edit(
        directory,
        "policy/routing.yaml",
        "  - id: fire\n",
        "  - id: gas-again\n    when: {category: E0401, channel: hotline}\n    level: street\n  - id: fire\n",
    )
    (problem,) = check_district(directory, {}).problems
    assert "gas-again can't be reached: rule gas-leak" in problem.reason


def test_all_mistakes_are_listed_and_the_first_error_gives_their_count(directory: Path) -> None:
    edit(directory, "policy/routing.yaml", "lead: [water]", "lead: [wather]")
    edit(directory, "policy/limits.yaml", "first_response: 15m", "first_response: soon")
    edit(directory, "units.yaml", "adapter: police", "adapter: policy")
    assert len(check_district(directory, {}).problems) >= 3
    with pytest.raises(ConfigError, match=r"and [2-9] more"):
        load(directory, environ={})


def test_mistakes_of_form_and_of_reference_in_one_rule_are_listed_together(directory: Path) -> None:
    edit(
        directory,
        "policy/routing.yaml",
        "  - id: fire\n",
        "  - id: new\n    wehn: {category: X1}\n    level: village\n    lead: [wather, watter]\n  - id: fire\n",
    )
    edit(directory, "units.yaml", "name: 供水", "nam: 供水")
    edit(directory, "policy/categories.yaml", "severity: major", "severity: huge")
    found = {(problem.key or "").rpartition("rules.")[2]: problem.reason for problem in check_district(directory, {}).problems}
    assert found["departments.water"] == "key 'name' is missing"
    assert found["departments.water.nam"] == "unknown key; known here: name, adapter, areas (did you mean name?)"
    assert "huge" in found["classes.P01.minor.P0101.severity"]
    rule = {key.partition(".")[2]: reason for key, reason in found.items() if key[0].isdigit()}
    assert rule == {
        "": "key 'when' is missing",
        "wehn": "unknown key; known here: id, when, level, lead, support, optional, dispatch, because (did you mean when?)",
        "level": "not a level: 'village' (grid, community, street or district)",
        "lead.0": "no unit has the code 'wather' (units.yaml)",
        "lead.1": "no unit has the code 'watter' (units.yaml)",
    }


def test_a_key_with_nothing_after_it_counts_as_not_written(directory: Path) -> None:
    edit(directory, "policy/routing.yaml", "lead: [water]", "lead: [water]\n    support:\n    because:")
    assert check_district(directory, {}).problems == ()


def test_an_alias_that_lies_in_what_it_stands_for_is_a_mistake_like_others(directory: Path) -> None:
    edit(directory, "policy/limits.yaml", "  E0405: *supply", "  E0405: &self\n    ordinary: *self")
    (problem,) = check_district(directory, {}).problems
    assert problem.key == "categories.E0405.ordinary"


def test_settings_are_what_yaml_takes_them_for(directory: Path) -> None:
    file = directory / "adapters.yaml"
    settings = 'settings: {n: 12, text: "12", yes: on, half: 0.5, at: 13:30, none: null, deep: {list: [{a: 1}, b]}}'
    file.write_text(file.read_text(encoding="utf-8") + f"  parks: {{plugin: webhook, {settings}}}\n", encoding="utf-8")
    found = load(directory, environ={}).adapters[-1].settings
    deep = {"list": [{"a": 1}, "b"]}
    assert found == {"n": 12, "text": "12", "yes": True, "half": 0.5, "at": "13:30", "none": None, "deep": deep}


def test_text_that_is_no_yaml_is_named_by_line(directory: Path) -> None:
    edit(directory, "policy/ladder.yaml", "authority:", "authority: [")
    problem = check_district(directory, {}).problems[0]
    assert problem.file == "policy/ladder.yaml"
    assert "not readable as YAML" in problem.reason


@pytest.mark.parametrize("file", ["areas.csv", "units.yaml", "district.yaml", "places.csv", "policy/limits.yaml"])
def test_a_missing_file_is_named(directory: Path, file: str) -> None:
    (directory / file).unlink()
    with pytest.raises(ConfigError, match=f"{file}: the file is missing"):
        load(directory, environ={})


def test_an_enabled_adapter_needs_its_environment(directory: Path) -> None:
    edit(directory, "adapters.yaml", "enabled: false", "enabled: true")
    with pytest.raises(ConfigError, match="HUB_HOTLINE_URL is not set") as caught:
        load(directory, environ={})
    assert caught.value.key == "adapters.hotline.settings.url"


def test_settings_from_the_environment_do_not_show(directory: Path) -> None:
    edit(directory, "adapters.yaml", "enabled: false", "enabled: true")
    configured = load(directory, environ={"HUB_HOTLINE_URL": "http://127.0.0.1:1", "HUB_HOTLINE_SECRET": "s3cret"})
    hotline = configured.adapters[0]
    assert hotline.enabled
    assert hotline.settings["secret"] == "s3cret"
    assert isinstance(hotline.settings["secret"], OutsideValue)
    assert "s3cret" not in repr(hotline)
    assert (hotline.attempts, hotline.backoff_cap) == (10, timedelta(minutes=30))


def test_a_department_may_serve_a_part_and_is_left_out_elsewhere(directory: Path) -> None:
    from datetime import UTC, datetime

    from hub.model.case.state import Channel
    from hub.model.district.areas import AreaCode
    from hub.model.policy.rules import Matter

    edit(
        directory,
        "units.yaml",
        "heat: {name: 供热, adapter: utilities}",
        "heat: {name: 供热, adapter: utilities, areas: [320113007]}",
    )
    district = load(directory, environ={}).district

    def targets(area: str) -> list[str]:
        matter = Matter(channel=Channel.HOTLINE, title="暖气不热", text="", area=AreaCode(area))
        return [target.unit for target in district.policy.plan(matter, datetime(2026, 1, 5, tzinfo=UTC)).targets]

    assert "heat" in targets("320113007001")
    assert "heat" not in targets("320113001001")


def test_a_secret_may_lie_in_a_file(directory: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    edit(directory, "adapters.yaml", "enabled: false", "enabled: true")
    edit(directory, "adapters.yaml", "{env: HUB_HOTLINE_SECRET}", f"{{file: {secret}}}")
    with pytest.raises(ConfigError, match="can't be read"):
        load(directory, environ={"HUB_HOTLINE_URL": "http://127.0.0.1:1"})
    secret.write_text("s3cret\n", encoding="utf-8")
    hotline = load(directory, environ={"HUB_HOTLINE_URL": "http://127.0.0.1:1"}).adapters[0]
    assert hotline.settings["secret"] == "s3cret"
    assert "s3cret" not in repr(hotline)


def test_a_departments_words_are_read_into_a_crosswalk(directory: Path) -> None:
    file = directory / "adapters.yaml"
    file.write_text(file.read_text(encoding="utf-8") + WORDS, encoding="utf-8")
    (parks,) = [found for found in load(directory, environ={}).adapters if found.name == "parks"]
    assert (parks.schedule, parks.attempts) == ((timedelta(seconds=5), timedelta(minutes=5)), 3)
    assert parks.crosswalk is not None
    assert parks.crosswalk.statuses == {"05": FeedbackKind.RESOLVED}
    assert (parks.crosswalk.categories, parks.crosswalk.fields) == ({"P01": "LH"}, {"title": "bt"})
    edit(directory, "adapters.yaml", '"05": resolved', '"05": finished')
    with pytest.raises(ConfigError, match="'finished' is not one of 'accepted'"):
        load(directory, environ={})


WORDS = """  parks:
    plugin: webhook
    enabled: false
    schedule: [5s, 5m]
    crosswalk:
      statuses: {"05": resolved}
      categories: {P01: LH}
      fields: {title: bt}
"""


@pytest.mark.parametrize("text", ["[" * 50_000, "[" * 1_500 + "]" * 1_500, "{a: " * 3_000, "- " * 4_000 + "x"])
def test_a_file_nested_without_end_is_a_mistake_and_not_the_end_of_the_process(directory: Path, text: str) -> None:
    (directory / "policy" / "ladder.yaml").write_text(text, encoding="utf-8")
    problem = check_district(directory, {}).problems[0]
    assert (problem.file, problem.line) == ("policy/ladder.yaml", 1)
    assert "nested deeper than 50" in problem.reason
