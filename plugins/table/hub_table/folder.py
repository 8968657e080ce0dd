"""The shared folder on disk: nothing outside is read or written, nothing half-written is read, nothing half-written is seen.

All functions block and run in the adapter's thread. Names are single components; folders and files that are symbolic links are
refused. What the operating system says becomes the hub's errors.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from hub import CredentialsRejected, OutcomeUnknown, Unavailable

_TABLES = (".csv", ".xlsx", ".xlsm")
ERRORS = ".错误.csv"
_UNFINISHED = (".tmp", ".part", ".crdownload")
_ORPHAN_SECONDS = 86_400.0


@dataclass(frozen=True)
class Found:
    """A table in the inbox."""

    name: str
    size: int
    changed_ns: int


class Folder:
    """One shared folder with its three folders."""

    def __init__(self, root: Path, *, out: str, inbox: str, archive: str) -> None:
        self._root = root
        self.out = out
        self.inbox = inbox
        self.archive = archive

    def check(self) -> None:
        """Whether all three are there and may be used; raises the delivery errors."""
        for name in (self.out, self.inbox, self.archive):
            with _errors(name):
                path = self._folder(name)
                if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                    raise PermissionError(name)

    # work lists

    def read_list(self, name: str) -> bytes | None:
        """A work list as it is now; None when it isn't there (any more)."""
        with _errors(name):
            return self._read(self.out, name, most=None)

    def lists(self) -> list[str]:
        """The names of all work lists."""
        return self.tables(self.out)

    def changed_ns(self, name: str) -> int | None:
        """When a work list was last changed; None when it isn't there."""
        with _errors(name):
            path = self._folder(self.out) / name
            with suppress(FileNotFoundError):
                return os.lstat(path).st_mtime_ns
        return None

    def prepare(self, content: bytes) -> str:
        """Write a work list aside, durable; returns its temporary name. Nobody sees it until `publish`."""
        temporary = f".{uuid4().hex}.tmp"
        with _errors(self.out):
            path = self._folder(self.out) / temporary
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o660)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    path.unlink()
                raise
        return temporary

    def publish(self, temporary: str, name: str) -> None:
        """Put a prepared list in its place at once. Raises Unavailable when nothing changed, OutcomeUnknown when it may have."""
        with _errors(self.out):
            folder = self._folder(self.out)
        try:
            os.replace(folder / temporary, folder / name)
        except OSError as problem:  # somebody has the list open in Excel, or the share is gone
            raise Unavailable(f"the work list can't be replaced: {problem.strerror}") from problem
        try:
            _sync(folder)
        except OSError as problem:
            raise OutcomeUnknown(f"the work list may not be durable: {problem.strerror}") from problem

    def is_prepared(self, temporary: str) -> bool:
        """Whether a prepared list still waits: then it was never published."""
        with _errors(self.out):
            return os.path.lexists(self._folder(self.out) / temporary)

    def drop(self, temporary: str) -> None:
        """Forget a prepared list; no error when it isn't there."""
        with _errors(self.out):
            path = self._folder(self.out) / temporary
            with suppress(FileNotFoundError):
                os.unlink(path)

    def sweep(self) -> None:
        """Remove what was prepared over a day ago and never published."""
        with _errors(self.out):
            folder = self._folder(self.out)
            for name in os.listdir(folder):
                if name.startswith(".") and name.endswith(".tmp") and len(name) == 37:
                    with suppress(FileNotFoundError):
                        if time.time() - os.lstat(folder / name).st_mtime > _ORPHAN_SECONDS:
                            os.unlink(folder / name)

    # what comes back

    def dropped(self, *, marked: bool) -> list[Found]:
        """Tables in the inbox, oldest first; with `marked` only those with a `.done` file beside."""
        found: list[Found] = []
        with _errors(self.inbox):
            folder = self._folder(self.inbox)
            names = set(os.listdir(folder))
            for name in names:
                if not name.lower().endswith(_TABLES) or name.endswith(ERRORS) or name.startswith((".", "~")):
                    continue
                if name.lower().endswith(_UNFINISHED) or (marked and f"{name}.done" not in names):
                    continue
                with suppress(FileNotFoundError):
                    state = os.lstat(folder / name)
                    if stat.S_ISREG(state.st_mode):
                        found.append(Found(name, state.st_size, state.st_mtime_ns))
        return sorted(found, key=lambda item: (item.changed_ns, item.name))

    def read_dropped(self, name: str, *, most: int) -> bytes | None:
        """A file of the inbox; None when it isn't there. Raises ValueError when it is larger than `most` bytes or no plain file."""
        with _errors(name):
            return self._read(self.inbox, name, most=most)

    def read_table(self, name: str, *, most: int) -> bytes | None:
        """A table of the inbox, cut at `most` bytes; None when it isn't there. Raises ValueError when it is no plain file."""
        with _errors(name):
            return self._read(self.inbox, name, most=most, cut=True)

    def tables(self, folder: str) -> list[str]:
        """The names of all tables in one of the three folders, oldest name first; error files aren't tables."""
        with _errors(folder):
            names = os.listdir(self._folder(folder))
        return sorted(
            name for name in names if name.lower().endswith(_TABLES) and name[0] not in ".~" and not name.endswith(ERRORS)
        )

    def tables_by_age(self, folder: str) -> list[tuple[int, str]]:
        """When each table of one of the three folders was changed, and its name; the oldest first."""
        names = self.tables(folder)
        found: list[tuple[int, str]] = []
        with _errors(folder):
            place = self._folder(folder)
            for name in names:
                with suppress(FileNotFoundError):
                    found.append((os.lstat(place / name).st_mtime_ns, name))
        return sorted(found)

    def read_any(self, folder: str, name: str, *, most: int) -> bytes | None:
        """A table of one of the three folders, or (`folder` empty) of the shared folder itself; None when it isn't there."""
        with _errors(name):
            return self._read(folder, name, most=most, cut=True)

    def write_errors(self, name: str, content: bytes | None) -> None:
        """Put the error file beside a table; None: there are none, an older one goes."""
        with _errors(self.inbox):
            folder = self._folder(self.inbox)
            if content is None:
                with suppress(FileNotFoundError):
                    os.unlink(folder / f"{name}{ERRORS}")
                return
            temporary = folder / f".{uuid4().hex}.tmp"
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o660)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, folder / f"{name}{ERRORS}")

    def store_away(self, names: list[str], stamp: str) -> None:
        """Move files of the inbox to the archive, under names that are not taken; no error for those that aren't there."""
        with _errors(self.archive):
            source, target = self._folder(self.inbox), self._folder(self.archive)
            for name in names:
                if not _is_name(name) or not os.path.lexists(source / name):
                    continue
                free = f"{stamp}-{name}"
                while os.path.lexists(target / free):
                    free = f"{stamp}-{uuid4().hex[:8]}-{name}"
                os.rename(source / name, target / free)
            _sync(target)

    def _folder(self, name: str) -> Path:
        """A folder below the root that is really there and no link to elsewhere."""
        path = self._root / name
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise NotADirectoryError(name)
        return path

    def _read(self, folder: str, name: str, *, most: int | None, cut: bool = False) -> bytes | None:
        path = self._folder(folder)
        if not _is_name(name):
            raise ValueError("文件名不能带路径")
        try:
            handle = os.open(path / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            return None
        except OSError as problem:
            if os.path.islink(path / name):
                raise ValueError("不是普通文件") from problem
            raise
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ValueError("不是普通文件")
            if most is not None and not cut and state.st_size > most:
                raise ValueError(f"文件超过{most // 1024}KB")
            return file.read() if most is None else file.read(most)


def digest_of(content: bytes) -> str:
    """SHA-256 of a table, by which it is known again."""
    return hashlib.sha256(content).hexdigest()


def _is_name(name: str) -> bool:
    return (
        bool(name)
        and not any(part in name for part in ("/", "\\", "\0"))
        and name not in (".", "..")
        and not name.startswith((".", "~"))
    )


def _sync(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """The delivery errors for what the operating system says; nothing was changed."""
    try:
        yield
    except PermissionError as problem:
        raise CredentialsRejected(f"no permission for {what} in the shared folder") from problem
    except FileNotFoundError as problem:
        raise Unavailable(f"{what} is not in the shared folder; is the share mounted?") from problem
    except OSError as problem:
        raise Unavailable(f"the shared folder can't be used: {problem.strerror}") from problem
