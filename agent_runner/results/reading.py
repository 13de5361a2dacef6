"""Reading `final_info.json` once, after the run has ended, without trusting anything about it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from agent_runner.records import Problem
from agent_runner.results.parsing import InvalidResults, parse_results

FILE_NAME = "final_info.json"
MAX_BYTES = 16 * 1024 * 1024

_MEND = (
    f"The contract: the experiment ends by writing {{place}}, a JSON object with its metrics, "
    'for instance `json.dump({{"metrics": {{"accuracy": 0.9}}}}, open(os.path.join(args.out_dir, '
    f'"{FILE_NAME}"), "w"))`.'
)


@dataclass(frozen=True)
class ResultFile:
    """What a run left: its numbers, or the problem with them, and the bytes that were read."""

    info: dict[str, Any] | None = None
    problem: Problem | None = None
    data: bytes = b""

    @property
    def sha256(self) -> str | None:
        """Of the bytes; None where none were read."""
        return hashlib.sha256(self.data).hexdigest() if self.data else None

    @property
    def size(self) -> int:
        return len(self.data)


class _Refused(Exception):
    """Why the file is not read: the kind of problem, and what is wrong."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_results(out_dir: Path, *, not_before_ns: int | None) -> ResultFile:
    """Read `final_info.json` of a run whose process tree is dead.

    No link is followed, neither for the folder nor for the file; it must be a regular file with one
    name, of at most 16 MB, changed at or after `not_before_ns` (epoch nanoseconds; None: whenever),
    and hold strict JSON (see `parse_results`). Whatever the run wrote, the answer is a ResultFile: its
    problem is of kind `results_missing`, `results_invalid` or `results_stale`.
    """
    place = (Path(out_dir.name) / FILE_NAME).as_posix()
    data = b""
    try:
        with _opened(out_dir) as descriptor:
            _check_file(os.fstat(descriptor), not_before_ns)
            data = _read(descriptor)
        info = parse_results(data)
    except _Refused as refused:
        return _problem(refused.kind, place, str(refused), data)
    except InvalidResults as error:
        return _problem("results_invalid", place, f"cannot be used: {error}.", data)
    except OSError as error:
        return _problem(
            "results_invalid", place, f"cannot be read: {error.strerror or error}.", data
        )
    return ResultFile(info, None, data)


def read_result_file(path: Path) -> ResultFile:
    """The same for a result file under any name, or the folder that holds `final_info.json`.

    For what a person names: links are followed. Its problem is `results_missing` or `results_invalid`.
    """
    try:
        if path.is_dir():
            return read_results(path.resolve(), not_before_ns=None)
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return _named_problem("results_invalid", str(path), "is not a regular file.")
            return read_result_bytes(stream, str(path))
    except FileNotFoundError:
        return _named_problem("results_missing", str(path), "is not there.")
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        why = error.strerror if isinstance(error, OSError) else None
        return _named_problem("results_invalid", str(path), f"cannot be read: {why or error}.")


def read_result_bytes(stream: BinaryIO, name: str) -> ResultFile:
    """The same for the rest of an open stream; `name` is what the problem calls it."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return _named_problem("results_invalid", name, _too_large(len(data)), data[:MAX_BYTES])
    try:
        return ResultFile(parse_results(data), None, data)
    except InvalidResults as error:
        return _named_problem("results_invalid", name, f"cannot be used: {error}.", data)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _named_problem(kind: str, name: str, message: str, data: bytes = b"") -> ResultFile:
    return ResultFile(None, Problem(kind=kind, message=f"{name} {message}", path=name), data)


@contextlib.contextmanager
def _opened(out_dir: Path) -> Iterator[int]:
    """A descriptor of the file, reached through a descriptor of its folder."""
    folder = _open_folder(out_dir)
    try:
        # NONBLOCK: opening a pipe must not wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(FILE_NAME, flags, dir_fd=folder)
        except FileNotFoundError:
            raise _Refused("results_missing", f"was not written{_beside(folder)}.") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _Refused("results_invalid", "is a link; links are not followed.") from None
            raise
    finally:
        os.close(folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_folder(out_dir: Path) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(out_dir, flags)
    except FileNotFoundError:
        message = f"was not written: the run made no folder {out_dir.name}."
        raise _Refused("results_missing", message) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            message = f"cannot be read: {out_dir.name} is a link or a file, not a folder."
            raise _Refused("results_invalid", message) from None
        raise


def _beside(folder: int) -> str:
    """What stands in the folder instead: often the file is there under another name."""
    with os.scandir(folder) as entries:
        names = sorted(repr(entry.name[:80]) for entry in itertools.islice(entries, 8))
    return f"; the folder holds {', '.join(names)}" if names else "; the folder is empty"


def _check_file(status: os.stat_result, not_before_ns: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Refused("results_invalid", "is not a regular file.")
    if status.st_nlink != 1:
        message = f"has {status.st_nlink} names (hard links); it must be a file of this run alone."
        raise _Refused("results_invalid", message)
    if status.st_size > MAX_BYTES:
        raise _Refused("results_invalid", _too_large(status.st_size))
    if not_before_ns is not None and _changed_ns(status) < not_before_ns:
        seconds = (not_before_ns - status.st_mtime_ns) / 1e9
        message = (
            f"is older than this run (last changed {seconds:.1f} s before its start): these are the "
            "numbers of an earlier run or a copied file. Write it anew in every run."
        )
        raise _Refused("results_stale", message)


def _changed_ns(status: os.stat_result) -> int:
    """The latest moment the file can have been changed: some file systems only keep even seconds."""
    coarse = status.st_mtime_ns % 1_000_000_000 == 0
    return status.st_mtime_ns + (2_000_000_000 if coarse else 0)


def _read(descriptor: int) -> bytes:
    """All bytes, but never more than the limit: the size may have been a lie."""
    data = bytearray()
    while chunk := os.read(descriptor, 1 << 20):
        data += chunk
        if len(data) > MAX_BYTES:
            raise _Refused("results_invalid", _too_large(len(data)))
    return bytes(data)


def _too_large(size: int) -> str:
    return (
        f"is too large: {size / 2**20:.1f} MB, at most {MAX_BYTES // 2**20} MB are read. Keep only "
        "metrics in it, and write arrays to another file of the folder."
    )


def _problem(kind: str, place: str, message: str, data: bytes) -> ResultFile:
    mend = "" if kind == "results_stale" else " " + _MEND.format(place=place)
    problem = Problem(kind=kind, message=f"{place} {message}{mend}", path=place)
    return ResultFile(None, problem, data)
