"""What somebody has newly written in a reply: without quoted text, signature and our own words. Pure.

Chinese clients mark quotes in many ways; our own line `ABOVE` is the surest mark, the others are for clients that reply at the top
with another mark, and for those that don't quote it.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hub_mailbox.letters import ABOVE

_CUT = re.compile(
    r"""
      -{2,}\s*(原始邮件|原邮件|转发邮件|回复的?原邮件|Original\ Message|Forwarded\ message|邮件原件)\s*-{2,}  # QQ, Foxmail, 163, Outlook
    | -{2,}\s*回复的?(原)?邮件\s*-{2,}
    | _{20,}                                                     # Outlook
    | (On\b.{5,200}\bwrote|.{0,100}\d.{0,100}写道|At\ \d{4}-.{5,200}\bwrote)\s*[:：]   # Apple, Gmail, 163
    | \*{0,2}(发件人|From)\*{0,2}\s*[:：]\s*\S.*                  # Outlook's block of headers
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SIGNATURE = re.compile(
    r"(--\s?|发自(我的)?\s?(iPhone|iPad|手机|小米|华为|荣耀|vivo|OPPO|三星|网易|QQ|新浪|邮箱|移动).*|Sent from my .*|从 .{2,20} 发送"
    r"|\|\s*$|来自.{2,20}(手机|客户端).*)",
    re.IGNORECASE,
)
_SKIPPED = frozenset({"script", "style", "head", "title", "blockquote"})
_BREAKS = frozenset({"br", "p", "div", "tr", "li", "h1", "h2", "h3", "table", "hr", "includetail"})
_QUOTES = ("gmail_quote", "gmail_signature", "moz-cite-prefix", "ntes-mailmaster-quote", "foxmail_quote", "yahoo_quoted")
_VOID = frozenset({"br", "hr", "img", "input", "meta", "link", "area", "base", "col", "embed", "source", "track", "wbr"})


def newly_written(text: str) -> str:
    """The part above the first quote, without a signature."""
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        bare = line.strip(" \t\u00a0\u3000\u200b\ufeff")
        if _is_ours(bare) or bare.startswith((">", "＞")) or _CUT.fullmatch(bare) or _SIGNATURE.fullmatch(bare):
            break
        lines.append(bare)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def text_of_html(markup: str) -> str:
    """The words of an HTML mail, quotes left out. Never raises on rubbish."""
    reader = _Words()
    reader.feed(markup)
    reader.close()
    return re.sub(r"[ \t\u00a0]+", " ", "".join(reader.words))


def _is_ours(line: str) -> bool:
    return "请在此线以上回复" in line and set(ABOVE).issuperset(line.replace(" ", ""))


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._open: list[str] = []
        """Elements open inside a part that is left out; empty: we read."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Breaks become lines; what quotes, runs or styles is left out with all inside."""
        if self._open:
            if tag not in _VOID:
                self._open.append(tag)
            return
        if tag in _BREAKS:
            self.words.append("\n")
        marks = " ".join(value or "" for name, value in attrs if name in ("class", "id", "name")).lower()
        if tag not in _VOID and (tag in _SKIPPED or any(mark in marks for mark in _QUOTES)):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave; an end without its beginning is ignored."""
        if tag in self._open:
            while self._open.pop() != tag:
                continue
        elif not self._open and tag in _BREAKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        """Line ends of the source are only spaces."""
        if not self._open:
            self.words.append(re.sub(r"\s+", " ", data))
