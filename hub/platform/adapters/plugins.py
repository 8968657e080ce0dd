"""Finds installed plugins and holds their classes to the contract. May look again while the hub runs.

Refuses with PluginError naming plugin and rule: a failed import, unknown hooks, duplicate names, declared capabilities without their
method, a newer API version. Called by the composition root at start and by the registration of instances.
"""

from __future__ import annotations

import importlib
import inspect
import re
import site
import sysconfig
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pluggy

from hub import hookspecs
from hub.contract import (
    Adapter,
    AdapterSettings,
    Capability,
    Classifier,
    ConsolePage,
    IntakeChannel,
    Manifest,
    Mount,
    MountSettings,
    Notifier,
    Plugin,
)
from hub.errors import PluginError

_OTHER_NAMES = {Capability.CALLBACK: "parse_callback"}
METHODS: Mapping[Capability, str] = MappingProxyType(
    {
        capability: method
        for capability in Capability
        if hasattr(Adapter, method := _OTHER_NAMES.get(capability, capability.value))
    }
)
"""The method behind each capability that has one: mostly it is called like the capability."""

KINDS: Mapping[str, type[Plugin]] = MappingProxyType(
    {"hub_adapters": Adapter, "hub_channels": IntakeChannel, "hub_classifiers": Classifier, "hub_notifiers": Notifier}
)
"""What each hook registers."""
_OWN = {Adapter: ("deliver",), IntakeChannel: (), Classifier: ("classify",), Notifier: ("notify",)}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PATH = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ROUTES = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Plugins:
    """The installed plugins. `extra`: further classes that are not installed (tests, the bench)."""

    def __init__(self, extra: Iterable[type[Plugin]] = ()) -> None:
        self._extra = tuple(extra)
        self.kinds: Mapping[str, type[Plugin]] = {}
        self.pages: tuple[ConsolePage, ...] = ()
        self.mounts: tuple[Mount[Any], ...] = ()
        self.look()

    def look(self) -> list[str]:
        """Look for plugins (again); returns the names that are new. What was there stays as it was loaded. Raises PluginError."""
        importlib.invalidate_caches()
        purelib = sysconfig.get_paths()["purelib"]
        if Path(purelib).is_dir():
            site.addsitedir(purelib)  # an editable installation is a .pth file that was not there when this process began
        manager = _loaded()
        kinds: dict[str, type[Plugin]] = {}
        for hook, base in KINDS.items():
            for offered in _offers(manager, hook):
                for kind in offered:
                    _add(kinds, kind, base)
        for kind in self._extra:
            _add(kinds, kind, next((base for base in _OWN if issubclass(kind, base)), Adapter))
        pages: dict[str, ConsolePage] = {}
        for offered in _offers(manager, "hub_console_pages"):
            for page in offered:
                checked = _check_page(page, pages)
                pages[checked.path] = checked
        mounts: dict[str, Mount[Any]] = {}
        for offered in _offers(manager, "hub_routes"):
            for mount in offered:
                found = _check_mount(mount, mounts)
                mounts[found.name] = found
        fresh = sorted(set(kinds) - set(self.kinds))
        self.kinds = MappingProxyType({**kinds, **self.kinds})
        self.pages = tuple(pages.values())
        self.mounts = tuple(mounts.values())
        return fresh

    def ensure(self, name: str) -> None:
        """Look again for a plugin that is not known: it may have been installed, and named to another hub. Raises PluginError."""
        if name not in self.kinds:
            self.look()

    def get(self, name: str) -> type[Plugin]:
        """The class of a plugin. Raises PluginError that lists the installed ones."""
        found = self.kinds.get(name)
        if found is None:
            known = ", ".join(sorted(self.kinds)) or "none"
            raise PluginError(f"no plugin named {name} is installed (installed: {known})", subject=name)
        return found


def discover(extra: Iterable[type[Plugin]] = ()) -> Mapping[str, type[Plugin]]:
    """All plugin classes that are installed, by their manifest's name; raises PluginError."""
    return Plugins(extra).kinds


def command_plugins() -> pluggy.PluginManager:
    """The loaded plugins, for calls of `hub_cli_commands`. Raises PluginError."""
    return _loaded()


def _loaded() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for entry in entry_points(group=hookspecs.PROJECT):
        try:
            manager.register(entry.load(), name=entry.name)
        except pluggy.PluginValidationError as problem:
            raise PluginError(f"plugin {entry.name}: {' '.join(str(problem).split())}", subject=entry.name) from problem
        except Exception as problem:
            raise PluginError(f"plugin {entry.name} can't be loaded: {problem}", subject=entry.name) from problem
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as problem:
        raise PluginError(f"unknown hook: {' '.join(str(problem).split())}", subject="hooks") from problem
    return manager


def _offers(manager: pluggy.PluginManager, hook: str) -> list[Iterable[object]]:
    """What the plugins return for a hook; an exception in it names the hook."""
    try:
        found = getattr(manager.hook, hook)()
    except Exception as problem:
        raise PluginError(f"{hook} failed: {type(problem).__name__}: {problem}", subject=hook) from problem
    for offered in found:
        if not isinstance(offered, list | tuple):
            raise PluginError(f"{hook} returns a {type(offered).__name__}, a list is expected", subject=hook)
    return list(found)


def _add(kinds: dict[str, type[Plugin]], kind: object, base: type[Plugin]) -> None:
    if not inspect.isclass(kind) or not issubclass(kind, base):
        raise PluginError(f"{getattr(kind, '__qualname__', kind)}: is no {base.__name__}", subject=str(kind))
    check_class(kind)
    name = kind.manifest.name
    if name in kinds and kinds[name] is not kind:
        raise PluginError(f"two plugins are named {name}", subject=name)
    kinds[name] = kind


def check_class(kind: type[Plugin]) -> None:
    """The contract's rules for a class; raises PluginError naming plugin and rule."""
    manifest = getattr(kind, "manifest", None)
    if not isinstance(manifest, Manifest):
        raise PluginError(f"{kind.__qualname__}: an adapter needs a manifest", subject=kind.__qualname__)
    name = manifest.name

    def refuse(rule: str) -> PluginError:
        return PluginError(f"{name}: {rule}", subject=name)

    if not _NAME.fullmatch(name):
        raise refuse("a plugin's name is made of lower-case letters, digits, - and _")
    if manifest.api > hookspecs.API_VERSION:
        raise refuse(f"is written for API version {manifest.api}, this hub has {hookspecs.API_VERSION}")
    if not inspect.isclass(kind.Settings) or not issubclass(kind.Settings, AdapterSettings):
        raise refuse("Settings must be a subclass of AdapterSettings")
    base = next((base for base in _OWN if issubclass(kind, base)), None)
    if base is None:
        raise refuse("is neither an Adapter nor an IntakeChannel, Classifier or Notifier")
    for method in _OWN[base]:
        if getattr(kind, method) is getattr(base, method):
            raise refuse(f"{method} is not defined")
    for capability, method in METHODS.items():
        if not hasattr(base, method):
            if capability in manifest.capabilities:
                raise refuse(f"declares {capability.value}, which a {base.__name__} can't")
            continue
        if capability in manifest.capabilities and getattr(kind, method) is getattr(base, method):
            raise refuse(f"declares {capability.value} but does not define {method}")
    for method in (*_OWN[base], *METHODS.values(), "start", "stop", "health", "diagnostics"):
        own = getattr(kind, method, None)
        if own is not None and not inspect.iscoroutinefunction(own):
            raise refuse(f"{method} must be async")
    if base is IntakeChannel and not manifest.capabilities & {Capability.POLL, Capability.CALLBACK}:
        raise refuse("a channel declares poll or callback: else nothing comes in")


def _check_page(page: object, known: Mapping[str, ConsolePage]) -> ConsolePage:
    if not isinstance(page, ConsolePage) or not _PATH.fullmatch(page.path):
        raise PluginError(f"not a console page: {page!r:.100}", subject="hub_console_pages")
    if page.path in known:
        raise PluginError(f"two console pages have the path {page.path}", subject=page.path)
    return page


def _check_mount(mount: object, known: Mapping[str, Mount[Any]]) -> Mount[Any]:
    if type(mount) is not Mount or type(mount.name) is not str or not _ROUTES.fullmatch(mount.name):
        raise PluginError(
            f"not routes with a name of lower-case letters, digits and _: a {type(mount).__name__}", subject="hub_routes"
        )
    if not isinstance(mount.settings, type) or not issubclass(mount.settings, MountSettings) or not callable(mount.build):
        raise PluginError(
            f"the routes {mount.name} need a class of settings and a function that builds them", subject=mount.name
        )
    if mount.name in known:
        raise PluginError(f"two plugins bring routes named {mount.name}", subject=mount.name)
    return mount
