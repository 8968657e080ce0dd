import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.config.district import areas_csv, load_areas, read_areas
from hub.errors import ConfigError
from hub.model.district.areas import AreaCode, GridKind, Level, UnitKind
from hub.model.district.areatree import AreaTree, check_areas
from hub.model.district.grids import HOUSEHOLDS_PER_GRID, estimate_households, generate_grids
from hub.model.district.units import Directory

HERE = Path(__file__).parent / "districts"
CONFIG = Path(__file__).parents[2] / "config"
SHARED = Path(os.environ.get("HUB_TEST_DIVISIONS", Path(__file__).parents[3] / "shared" / "data"))
DIVISIONS = [HERE / "north.csv", HERE / "south.csv", CONFIG / "areas.csv", *sorted(SHARED.glob("divisions_*.csv"))]

HEADER = "code,name,level,parent\n990101,北区,district,\n990101001,河街道,street,990101\n"


def problems_of(text: str) -> list[ConfigError]:
    problems: list[ConfigError] = []
    rows = read_areas(text, "areas.csv", problems)
    return problems or check_areas(rows, "areas.csv")


@pytest.mark.parametrize("path", DIVISIONS, ids=lambda path: path.stem)
def test_every_district_file_makes_a_sound_tree(path: Path) -> None:
    tree = load_areas(path)
    assert tree.at_level(Level.DISTRICT) == (tree.district,)
    for area in tree:
        assert tree.path(area.code)[0] == tree.district.name
        assert tree.path(area.code)[-1] == area.name
        assert len(tree.path(area.code)) == 5 - area.level
        assert tree.resolve(area.code.ljust(15, "0")) == area


@pytest.mark.parametrize("path", DIVISIONS, ids=lambda path: path.stem)
def test_every_district_can_be_divided_into_grids(path: Path) -> None:
    tree = load_areas(path)
    full = AreaTree([*tree, *generate_grids(tree)])
    assert check_areas(read_areas(areas_csv(full), "areas.csv", []), "areas.csv") == []
    assert all(full.children(community.code) for community in full.at_level(Level.COMMUNITY))


@pytest.mark.parametrize(
    ("row", "key", "words"),
    [
        ("990101001,河西街道,street,990101", "code", "twice"),
        ("990101002,山街道,street,990102", "parent", "not the district"),
        ("990101002001,桥头社区,community,990101002", "parent", "orphan"),
        ("99010100,山街道,street,990101", "code", "digits"),
        ("99010100a,山街道,street,990101", "code", "must be digits"),
        ("990101002,,street,990101", "name", "no name"),
        ("990101002,山街道,street,", "parent", "no parent"),
        ("990101002,山街道,village,990101", "level", "not a level"),
        ("990102,东区,district,", "level", "second district"),
        ("990101001001,桥头社区,community,990101", "parent", "not the street"),
    ],
)
def test_a_broken_row_is_named_by_file_line_and_key(row: str, key: str, words: str) -> None:
    problem = problems_of(f"{HEADER}{row}\n")[0]
    assert (problem.file, problem.line, problem.key) == ("areas.csv", 4, key)
    assert words in problem.reason


def test_all_broken_rows_are_found_at_once() -> None:
    assert len(problems_of(f"{HEADER}1,甲,street,990101\n990101003,,street,990101\n")) == 2


def test_a_missing_column_is_named() -> None:
    problem = problems_of("code,name,level\n990101,北区,district\n")[0]
    assert (problem.line, problem.key) == (1, "parent")


def test_a_tree_without_a_district_is_refused() -> None:
    problems = problems_of("code,name,level,parent\n990101001,河街道,street,990101\n")
    assert "there is no district" in [problem.reason for problem in problems]


def test_codes_are_found_exactly_and_zero_filled() -> None:
    tree = load_areas(HERE / "south.csv")
    assert tree.find("990202001") is not None
    assert tree.find("990202001000000") is None
    street = tree.resolve("990202001000000")
    assert street is not None
    assert street.name == "海街道"
    assert tree.resolve("990202009000000") is None
    assert tree.resolve("990202001001003") is None


def test_parents_and_children_follow_the_code() -> None:
    tree = load_areas(HERE / "south.csv")
    parent = tree.parent("990202001001001")
    assert parent is not None
    assert parent.code == "990202001001"
    assert [child.code for child in tree.children("990202001001")] == ["990202001001001", "990202001001002"]
    assert tree.parent("990202") is None
    assert tree.at(Level.GRID, "990202001") is None
    assert tree.path("990202001001001") == ("南区", "海街道", "港湾社区居委会", "第1网格")


def test_grids_follow_the_n_plus_x_rule() -> None:
    tree = load_areas(HERE / "north.csv")
    grids = generate_grids(tree)
    for community in tree.at_level(Level.COMMUNITY):
        own = [grid for grid in grids if grid.parent == community.code]
        lived_in = [grid for grid in own if grid.grid_kind is GridKind.RESIDENTIAL]
        assert sum(grid.households or 0 for grid in own) == estimate_households(community)
        assert 1 <= sum(grid.grid_kind is GridKind.COMMERCIAL for grid in own) <= 2
        for grid in lived_in:
            assert abs((grid.households or 0) - HOUSEHOLDS_PER_GRID) <= 150


def test_a_virtual_community_has_commercial_grids_only() -> None:
    grids = [grid for grid in generate_grids(load_areas(HERE / "north.csv")) if grid.parent == "990101002498"]
    assert [grid.grid_kind for grid in grids] == [GridKind.COMMERCIAL] * 2


def test_communities_that_have_grids_keep_them() -> None:
    assert generate_grids(load_areas(HERE / "south.csv")) == ()


def test_the_generator_always_gives_the_same() -> None:
    tree = load_areas(HERE / "north.csv")
    assert generate_grids(tree) == generate_grids(tree)


def test_the_shipped_district_is_what_the_generator_gives() -> None:
    shipped = load_areas(CONFIG / "areas.csv")
    bare = AreaTree(area for area in shipped if area.level is not Level.GRID)
    assert areas_csv(AreaTree([*bare, *generate_grids(bare)])) == (CONFIG / "areas.csv").read_text(encoding="utf-8")


@given(st.text(alphabet="0123456789", min_size=1, max_size=16))
def test_any_code_resolves_to_an_area_that_it_begins_with(code: str) -> None:
    found = TREE.resolve(code)
    assert found is None or code.startswith(found.code)


TREE = load_areas(CONFIG / "areas.csv")


def test_each_level_has_its_own_unit() -> None:
    directory = Directory(TREE, ())
    names = [unit.name for unit in (directory.at(level, "320113001001003") for level in Level) if unit is not None]
    assert names == ["尧化社区第3网格", "尧化社区居委会", "尧化街道办事处", "栖霞区指挥中心"]
    assert directory.at(Level.COMMUNITY, "320113001000000") is None
    assert directory.nearest(Level.GRID, "320113001000000").code == "320113001"
    centre = directory.get("320113")
    assert centre is not None
    assert (centre.kind, centre.areas) == (UnitKind.CENTRE, (AreaCode("320113"),))
