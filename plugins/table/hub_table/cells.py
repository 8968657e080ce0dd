"""Cells going out and coming in: what a spreadsheet would execute is made text; what people type is read as text or time. Pure."""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from hub import Position

_KEY = re.compile(r"\d{15}-[0-9a-hjkmnp-tv-z]{10,26}\.a\d{1,4}")
_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")
_CELL_MOST = 32_000
"""Excel's limit is 32,767 characters."""
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME = re.compile(
    r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[T\s]*(\d{1,2})\s*[:：时]\s*(\d{1,2})(?:\s*[:：分]\s*(\d{1,2})(?:\.\d+)?)?\s*[秒分]?)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?"
)


_SYSTEMS = {"wgs84": "WGS-84", "cgcs2000": "CGCS2000", "gcj02": "GCJ-02", "bd09": "BD-09"}


def positioned(position: Position | None) -> dict[str, str]:
    """The cells of a position, exactly as it was given; empty without one."""
    if position is None:
        return {"longitude": "", "latitude": "", "system": ""}
    system = _SYSTEMS.get(position.system, position.system)
    return {"longitude": repr(position.longitude), "latitude": repr(position.latitude), "system": system}


def position_of(longitude: str, latitude: str, system: str) -> Position | None:
    """The position that three cells give; None for empty ones. Raises ValueError with a Chinese reason."""
    if not longitude and not latitude:
        return None
    if not system:
        raise ValueError("填写经纬度须注明坐标系（WGS-84、CGCS2000、GCJ-02、BD-09）")
    name = system.strip().lower()
    short = name.replace("-", "").replace(" ", "")
    try:
        found = Position(longitude=float(longitude), latitude=float(latitude), system=short if short in _SYSTEMS else name)
    except ValueError:
        raise ValueError(f"经纬度应为数字：{longitude[:20]},{latitude[:20]}") from None
    if found.system in _SYSTEMS and not (-180 <= found.longitude <= 180 and -90 <= found.latitude <= 90):
        raise ValueError(f"经纬度超出范围：{longitude[:20]},{latitude[:20]}")
    return found


def is_key(text: str) -> bool:
    """Whether it has the form of a delivery key."""
    return _KEY.fullmatch(text) is not None


def ticket_of(key: str) -> str:
    """The department's number for a key: BG and 12 characters (60 bits of its SHA-256)."""
    bits = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 4
    digits = []
    for _ in range(12):
        bits, digit = divmod(bits, 32)
        digits.append(_CROCKFORD[digit])
    return "BG" + "".join(reversed(digits))


def safe(text: str) -> str:
    """A cell no spreadsheet takes for a formula (OWASP, CSV injection): an apostrophe goes before what could be one."""
    clean = _ILLEGAL.sub("", text)[:_CELL_MOST]
    return "'" + clean if clean.lstrip(" \u00a0\u3000").startswith(_DANGEROUS) or clean.startswith(_DANGEROUS) else clean


def shown(at: datetime | None, zone: ZoneInfo) -> str:
    """A time as people write it, in the folder's zone; empty for none."""
    return "" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def text_of(value: object, zone: ZoneInfo) -> str:
    """What a cell says, whatever Excel made of it: 3.0 is 3, a date is written out."""
    match value:
        case None:
            return ""
        case bool():
            return "是" if value else "否"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case date() | time():
            return value.isoformat()
        case _:
            return _ILLEGAL.sub("", str(value)).replace("\r\n", "\n").strip(" \t\n\r\u00a0\u3000\ufeff")


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """A time as people write it (2026-11-23 14:30, 2026/11/23, 2026年11月23日14时30分); raises ValueError."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"不是时间：{text[:40]}")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    at = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    if found[7]:
        at = datetime.fromisoformat(f"{at:%Y-%m-%dT%H:%M:%S}{'+00:00' if found[7] == 'Z' else found[7]}")
    return at
