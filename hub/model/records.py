"""What a matter refers to outside itself: the record it came from, and files. Vocabulary, no behaviour."""

from __future__ import annotations

import msgspec

from hub.model.texts import Code, Written

ASKS_ITSELF = "@"
"""What the name of a source begins with that is no adapter: its clients ask how their matters stand, nobody tells them."""


class Source(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The outside record a case came from: the adapter that brought it and that system's own number."""

    adapter: Code
    ref: Code


class Attachment(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A file kept beside the ledger: `sha256` (hex) is its name in the store of files, `size` in bytes."""

    name: Written
    media_type: Code
    size: int
    sha256: Code
