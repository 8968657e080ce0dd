"""Reads categories.yaml: codes, names, keywords, and what raises a matter's severity.

Owns the file's form; the meaning is `hub.model.policy.categories`'s. Called by `hub.config.policy`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from hub.config.documents import Document, Form, Place, refuse
from hub.config.fields import (
    CategoryCode,
    CategoryStart,
    Known,
    LevelWord,
    Several,
    Text,
    clock_span,
    every,
    matching,
    one_of,
    parsed,
)
from hub.model.case.state import Severity
from hub.model.policy.categories import Category, CategoryTree, Raise, Standing

Window = Annotated[timedelta | None, parsed(lambda text: None if text == "none" else clock_span(text))]
"""The time within which two matters are suspected to be the same; `none`: never."""
MajorCode = Annotated[str, matching(r"[A-Z]\d{2}", "a major code (a letter and two digits)")]


class _Reach(Form):
    settle: LevelWord | None = None
    top: LevelWord | None = None

    @model_validator(mode="after")
    def _can_be_settled(self) -> Self:
        if self.settle is not None and self.top is not None and self.top < self.settle:
            raise ValueError("top is below settle: nobody could settle it")
        return self


class _Standing(_Reach):
    settle: LevelWord
    top: LevelWord


class _Raise(Form):
    to: Severity
    title_only: Annotated[bool, one_of({"title": True, "anywhere": False})] = Field(True, alias="where")
    categories: Several[CategoryStart] = ()
    words: Several[Text]
    unless: Several[Text] = ()


class _Minor(_Reach):
    name: Text
    severity: Severity
    keywords: Several[Several[Text]]
    duplicates: Window = None
    covers: bool = False


class _Major(Form):
    name: Text
    minor: dict[str, _Minor]


class _Categories(Form):
    default: CategoryCode
    duplicates: Window = None
    levels: Annotated[dict[Severity, _Standing], every(*Severity)]
    raises: tuple[_Raise, ...] = Field((), alias="raise")
    classes: dict[MajorCode, _Major]

    @model_validator(mode="after")
    def _minors_continue_their_major(self) -> Self:
        wrong: list[tuple[Place, str]] = [
            (("classes", major, "minor", code), f"{code!r} is not a minor code of {major} ({major} and two digits)")
            for major, form in self.classes.items()
            for code in form.minor
            if not (len(code) == 5 and code.startswith(major) and code[3:].isdecimal())
        ]
        refuse(wrong)
        return self


def read_categories(document: Document, known: Known) -> CategoryTree | None:
    """The tree; None when the file does not fit its form (the document's problems say why)."""
    form = document.form(_Categories, known)
    if form is None:
        return None
    categories = [
        Category(
            code=code,
            major=major,
            major_name=above.name,
            line=document.line("classes", major, "minor", code),
            **dict(one) | {"duplicates": one.duplicates if "duplicates" in one.model_fields_set else form.duplicates},
        )
        for major, above in form.classes.items()
        for code, one in above.minor.items()
    ]
    raises = [Raise(**dict(one), line=document.line("raise", index)) for index, one in enumerate(form.raises)]
    standing = {severity: Standing(**dict(one)) for severity, one in form.levels.items()}
    return CategoryTree(categories, default=form.default, standing=standing, raises=raises)
