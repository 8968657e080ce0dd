"""Plugins are held to the contract when they are found: what breaks it is refused naming plugin and rule."""

import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pluggy
import pytest
import typer
from typer.testing import CliRunner

from hub import hookspecs
from hub.contract import (
    Adapter,
    Assignment,
    Capability,
    CaseText,
    Classifier,
    IntakeChannel,
    Manifest,
    Notifier,
    Plugin,
    Receipt,
    Suggestion,
)
from hub.errors import PluginError
from hub.model.effects import Verb
from hub.platform.adapters.plugins import METHODS, Plugins, check_class
from hub.surfaces.cli.extra import add_plugin_commands, names_of, wanted

MANIFEST = Manifest(name="lamps", department="路灯", version="1", capabilities=frozenset({Capability.IDEMPOTENT}))


class Good(Adapter):
    manifest = MANIFEST

    async def deliver(self, assignment: Assignment) -> Receipt:
        return Receipt(ticket="1")


def broken(base: type[Plugin] = Good, **attributes: object) -> type[Plugin]:
    return type("Broken", (base,), attributes)


def not_async(self: object) -> None:
    """Not a coroutine function."""


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (broken(Adapter), "needs a manifest"),
        (broken(Adapter, manifest=MANIFEST), "deliver is not defined"),
        (broken(manifest=replace(MANIFEST, name="Lamps!")), "lower-case letters"),
        (broken(manifest=replace(MANIFEST, api=99)), "written for API version 99"),
        (
            broken(manifest=replace(MANIFEST, capabilities=frozenset({Capability.LOOKUP}))),
            "declares lookup but does not define",
        ),
        (broken(manifest=replace(MANIFEST, capabilities=frozenset({Capability.AUDIT}))), "declares audit but does not define"),
        (broken(deliver=not_async), "deliver must be async"),
        (broken(health=not_async), "health must be async"),
        (broken(Settings=dict), "Settings must be"),
        (broken(Plugin, manifest=MANIFEST), "neither an Adapter"),
        (broken(IntakeChannel, manifest=MANIFEST), "declares poll or callback"),
        (
            broken(IntakeChannel, manifest=replace(MANIFEST, capabilities=frozenset({Capability.RECALL}))),
            "declares recall, which a IntakeChannel can't",
        ),
        (broken(Classifier, manifest=MANIFEST), "classify is not defined"),
        (broken(Notifier, manifest=MANIFEST), "notify is not defined"),
    ],
)
def test_a_class_that_breaks_the_contract_is_refused_naming_the_rule(kind: type[Plugin], rule: str) -> None:
    with pytest.raises(PluginError, match=rule):
        check_class(kind)


def test_two_plugins_of_one_name_are_refused() -> None:
    with pytest.raises(PluginError, match="two plugins are named lamps"):
        Plugins([Good, broken()])


def test_what_is_loaded_stays_when_plugins_are_looked_for_again() -> None:
    plugins = Plugins([Good])
    before = plugins.kinds["lamps"]
    assert plugins.look() == []
    assert plugins.kinds["lamps"] is before


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place on the path where a distribution can be put; its module is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("fresh_")]:
        del sys.modules[name]


def install(where: Path, name: str, code: str) -> None:
    """A distribution with one module that is a plugin."""
    (where / f"fresh_{name}.py").write_text(code, encoding="utf-8")
    info = where / f"fresh_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fresh-{name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[city_hub]\nfresh_{name} = fresh_{name}\n", encoding="utf-8")


WITH_COMMAND = """
from hub import ConsolePage, hookimpl

async def body():
    return "<h1>路灯</h1>"

@hookimpl
def hub_cli_commands(app):
    @app.command("NAME")
    def lamps():
        print("所有路灯都亮着")

@hookimpl
def hub_console_pages():
    return [ConsolePage(path="lamps", title="路灯", roles=frozenset({"operator"}), render=body)]
"""


def test_a_plugin_installed_meanwhile_is_found(installed: Path) -> None:
    plugins = Plugins()
    code = "from hub import Adapter, Manifest, Receipt, hookimpl\n"
    code += "class Fresh(Adapter):\n    manifest = Manifest(name='fresh', department='新', version='1')\n"
    code += "    async def deliver(self, assignment):\n        return Receipt(ticket='1')\n"
    code += "@hookimpl\ndef hub_adapters():\n    return [Fresh]\n"
    install(installed, "one", code)
    assert plugins.look() == ["fresh"]


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("raise RuntimeError('no licence')", "fresh_bad can't be loaded: no licence"),
        ("from hub import hookimpl\n@hookimpl\ndef hub_adapter():\n    return []\n", "unknown hook.*hub_adapter"),
        ("from hub import hookimpl\n@hookimpl\ndef hub_adapters(nonsense):\n    return []\n", "fresh_bad.*nonsense"),
        ("from hub import hookimpl\n@hookimpl\ndef hub_adapters():\n    return 7\n", "hub_adapters returns a int"),
        ("from hub import hookimpl\n@hookimpl\ndef hub_adapters():\n    return [7]\n", "is no Adapter"),
        ("from hub import hookimpl\n@hookimpl\ndef hub_adapters():\n    raise ValueError('x')\n", "hub_adapters failed.*x"),
        ("from hub import hookimpl\n@hookimpl\ndef hub_console_pages():\n    return ['x']\n", "not a console page"),
    ],
)
def test_a_broken_plugin_is_refused_and_the_others_stay(code: str, rule: str, installed: Path) -> None:
    plugins = Plugins([Good])
    install(installed, "bad", code)
    with pytest.raises(PluginError, match=rule):
        plugins.look()
    assert "lamps" in plugins.kinds


def test_a_plugin_adds_a_command_and_a_page(installed: Path) -> None:
    install(installed, "two", WITH_COMMAND.replace("NAME", "lamps"))
    tree = typer.Typer()
    tree.command("other")(lambda: None)
    assert not wanted(tree, ["other"])
    assert wanted(tree, ["lamps"])
    assert wanted(tree, ["--help"])
    add_plugin_commands(tree)
    assert names_of(tree) == ["other", "lamps"]
    assert "所有路灯都亮着" in CliRunner().invoke(tree, ["lamps"]).stdout
    assert [page.path for page in Plugins().pages] == ["lamps"]


def test_a_plugins_command_may_not_have_the_name_of_another(installed: Path) -> None:
    install(installed, "three", WITH_COMMAND.replace("NAME", "other"))
    tree = typer.Typer()
    tree.command("other")(lambda: None)
    with pytest.raises(PluginError, match="a command other already"):
        add_plugin_commands(tree)


def test_a_hook_that_is_going_to_go_warns_whoever_implements_it() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)

    class Specs:
        @hookspecs.hookspec(warn_on_impl=DeprecationWarning("hub_old goes with API version 2"))
        def hub_old(self) -> None:
            """Going."""

    class Uses:
        @hookspecs.hookimpl
        def hub_old(self) -> None:
            """Still here."""

    manager.add_hookspecs(Specs)
    with pytest.warns(DeprecationWarning, match="API version 2"):
        manager.register(Uses())


def test_a_classifier_that_is_whole_is_taken() -> None:
    class Whole(Classifier):
        manifest = replace(MANIFEST, capabilities=frozenset())

        async def classify(self, case: CaseText) -> Suggestion | None:
            return None

    check_class(Whole)


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.DELIVER])
def test_every_verb_is_a_capability_whose_method_takes_what_is_told(verb: Verb) -> None:
    assert METHODS[Capability(verb.value)] == verb.value
    kinds = [one.annotation for one in inspect.signature(getattr(Adapter, verb.value)).parameters.values()]
    assert kinds[1:] == (["Notice"] if verb is Verb.INFORM else ["Assignment", "str"])
