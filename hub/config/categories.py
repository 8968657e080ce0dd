"""Reads categories.yaml: codes, names, keywords, and what raises a matter's severity.

Owns the file form; the meaning is `categories`'s. Mistakes are collected in the nodes. Called by `hub.config.policy`.
"""

from __future__ import annotations

import re
from datetime import timedelta

from hub.config.nodes import YamlNode
from hub.model.case.state import Severity
from hub.model.policy.categories import Category, CategoryTree, Raise, Standing

_CODE = re.compile(r"^[A-Z]\d{4}$")
_MAJOR = re.compile(r"^[A-Z]\d{2}$")


def per_severity(node: YamlNode) -> dict[Severity, YamlNode]:
    """A mapping with one entry for every severity; complains about gaps."""
    names = [severity.value for severity in Severity]
    return {Severity(name): child for name, child in node.fields(names, required=names).items()}


class CategoryReader:
    """Reads one categories.yaml, whose root is `root`."""

    def __init__(self, root: YamlNode) -> None:
        self._root = root
        self._lines: dict[str, int] = {}

    def read(self) -> CategoryTree | None:
        """The tree; None when it can't be made (problems say why)."""
        fields = self._root.fields(
            ("default", "duplicates", "levels", "raise", "classes"), required=("default", "levels", "classes")
        )
        if not {"default", "levels", "classes"} <= fields.keys():
            return None
        window = self._window(fields["duplicates"]) if "duplicates" in fields else None
        standing = self._standing(fields["levels"])
        categories = self._classes(fields["classes"], window)
        default = fields["default"].text()
        if default not in self._lines:
            fields["default"].complain(f"no category has the code {default!r}")
            return None
        if len(standing) < len(Severity):
            return None
        return CategoryTree(categories, default=default, standing=standing, raises=self._raises(fields.get("raise")))

    @staticmethod
    def _window(node: YamlNode) -> timedelta | None:
        return None if node.text() == "none" else node.clock_span()

    @staticmethod
    def _standing(node: YamlNode) -> dict[Severity, Standing]:
        found: dict[Severity, Standing] = {}
        for severity, child in per_severity(node).items():
            fields = child.fields(("settle", "top"), required=("settle", "top"))
            settle = fields["settle"].level() if "settle" in fields else None
            top = fields["top"].level() if "top" in fields else None
            if settle is None or top is None:
                continue
            if top < settle:
                child.complain("top is below settle: nobody could settle it")
            found[severity] = Standing(settle=settle, top=top)
        return found

    def _raises(self, node: YamlNode | None) -> list[Raise]:
        found: list[Raise] = []
        for item in node.items() if node is not None else ():
            fields = item.fields(("to", "where", "categories", "words", "unless"), required=("to", "words"))
            to = fields["to"].choice(Severity) if "to" in fields else None
            where = fields["where"].text() if "where" in fields else "title"
            if where not in ("title", "anywhere"):
                fields["where"].complain("title or anywhere is expected here")
            codes = fields["categories"].words() if "categories" in fields else ()
            for code in codes:
                if not any(known.startswith(code) for known in self._lines):
                    fields["categories"].complain(f"no category starts with {code!r}")
            words = fields["words"].words() if "words" in fields else ()
            if to is not None and words:
                unless = fields["unless"].words() if "unless" in fields else ()
                found.append(
                    Raise(to=to, words=words, title_only=where == "title", categories=codes, unless=unless, line=item.line)
                )
        return found

    def _classes(self, node: YamlNode, window: timedelta | None) -> list[Category]:
        categories: list[Category] = []
        for major, child in node.entries().items():
            if not _MAJOR.match(major):
                child.complain(f"{major!r} is not a major code (a letter and two digits)")
            fields = child.fields(("name", "minor"), required=("name", "minor"))
            if not {"name", "minor"} <= fields.keys():
                continue
            name = fields["name"].text()
            for code, minor in fields["minor"].entries().items():
                if not _CODE.match(code) or not code.startswith(major):
                    minor.complain(f"{code!r} is not a minor code of {major} ({major} and two digits)")
                if code in self._lines:
                    minor.complain(f"category {code} is given twice (first on line {self._lines[code]})")
                    continue
                self._lines[code] = minor.line
                if (category := self._category(code, minor, major, name, window)) is not None:
                    categories.append(category)
        self._check_keywords(node, categories)
        return categories

    def _category(self, code: str, node: YamlNode, major: str, major_name: str, window: timedelta | None) -> Category | None:
        fields = node.fields(
            ("name", "severity", "keywords", "settle", "top", "duplicates", "covers"), required=("name", "severity", "keywords")
        )
        severity = fields["severity"].choice(Severity) if "severity" in fields else None
        if severity is None or "name" not in fields or "keywords" not in fields:
            return None
        settle = fields["settle"].level() if "settle" in fields else None
        top = fields["top"].level() if "top" in fields else None
        if settle is not None and top is not None and top < settle:
            node.complain("top is below settle: nobody could settle it")
        return Category(
            code=code,
            name=fields["name"].text(),
            major=major,
            major_name=major_name,
            severity=severity,
            settle=settle,
            top=top,
            duplicates=self._window(fields["duplicates"]) if "duplicates" in fields else window,
            covers=fields["covers"].boolean() if "covers" in fields else False,
            keywords=tuple(item.words() if item.is_list else (item.text(),) for item in fields["keywords"].items()),
            line=node.line,
        )

    @staticmethod
    def _check_keywords(node: YamlNode, categories: list[Category]) -> None:
        """Complain about a keyword given twice in one category."""
        for category in categories:
            repeated = sorted({"+".join(words) for words in category.keywords if category.keywords.count(words) > 1})
            for words in repeated:
                node.complain(f"category {category.code} (line {category.line}) lists the keyword {words} twice")
