"""The one writer: a reply's edits onto a folder, all files or none. Bytes in, bytes out, no link followed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from agent_runner.edits import targets
from agent_runner.edits.engine import apply_reply
from agent_runner.edits.outcome import EditOutcome, EditProblem

MAX_FILE_BYTES = 8 * 1024 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Refused(Exception):
    """A path that cannot be read or written safely."""


def apply_to_directory(
    reply: str,
    root: Path,
    editable: Collection[str] | None = None,
    *,
    dry_run: bool = False,
) -> EditOutcome:
    """Apply a reply's blocks to the files below a folder; `editable=None` = every regular file there.

    Files are replaced atomically and keep their mode; bytes that are no UTF-8 survive. Nothing below
    `.git` and nothing behind a symbolic link is read or written.
    """
    names = _regular_files(root) if editable is None else sorted(set(editable))
    texts: dict[str, str] = {}
    for name in names:
        try:
            if targets.check_path(name) is None:
                texts[name] = _read(root, name).decode("utf-8", errors="surrogateescape")
        except FileNotFoundError:
            continue
        except (_Refused, OSError) as error:
            if editable is not None:
                return _failed(name, _reason(error))
    outcome = apply_reply(reply, texts, editable)
    if not outcome.applied or dry_run:
        return outcome
    try:
        _write_all(root, texts, outcome.files)
    except (_Refused, OSError) as error:
        return _failed(getattr(error, "filename", None) or "a file", _reason(error))
    return outcome


def _failed(name: str, reason: str) -> EditOutcome:
    text = f"Nothing was changed: {name} cannot be edited: {reason}."
    problem = EditProblem(kind="path_forbidden", message=text, path=name)
    return EditOutcome(applied=False, kind="path_forbidden", problems=(problem,), message=text)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _regular_files(root: Path) -> list[str]:
    """Relative paths of regular text files below a folder; links and `.git` left out."""
    names = []
    for base, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(f for f in folders if f.lower() != ".git")
        for name in files:
            path = Path(base) / name
            status = path.lstat()
            if (
                stat.S_ISREG(status.st_mode)
                and status.st_size <= MAX_FILE_BYTES
                and name.lower() != ".git"
            ):
                names.append(path.relative_to(root).as_posix())
    return sorted(names)


@contextlib.contextmanager
def _folder_of(root: Path, name: str) -> Iterator[int]:
    """A descriptor of the folder that holds a file, opened step by step without following links."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in PurePosixPath(name).parts[:-1]:
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
            except NotADirectoryError as error:
                raise _Refused(f"{part} on the way is a link, or no folder") from error
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _read(root: Path, name: str) -> bytes:
    with _folder_of(root, name) as folder:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(PurePosixPath(name).name, flags, dir_fd=folder)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise _Refused("it is a symbolic link, or cannot be opened") from error
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _Refused("it is not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise _Refused(f"it is larger than {MAX_FILE_BYTES} bytes")
            return stream.read()


def _write_all(root: Path, old: dict[str, str], new: dict[str, str]) -> None:
    """Replace every file, or put back those already replaced."""
    replaced: list[str] = []
    try:
        for name, text in new.items():
            current = _read(root, name) if name in old else None
            expected = old[name].encode("utf-8", errors="surrogateescape") if name in old else None
            if current != expected:
                raise _Refused(f"{name} was changed by somebody else meanwhile")
            _replace(root, name, text.encode("utf-8", errors="surrogateescape"))
            replaced.append(name)
    except BaseException:
        for name in replaced:
            with contextlib.suppress(OSError, _Refused):
                if name in old:
                    _replace(root, name, old[name].encode("utf-8", errors="surrogateescape"))
                else:
                    with _folder_of(root, name) as folder:
                        os.unlink(PurePosixPath(name).name, dir_fd=folder)
        raise


def _replace(root: Path, name: str, data: bytes) -> None:
    with _folder_of(root, name) as folder:
        base = PurePosixPath(name).name
        mode = 0o644
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(os.stat(base, dir_fd=folder, follow_symlinks=False).st_mode)
        temporary = f".{base}.{secrets.token_hex(6)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o600, dir_fd=folder)
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            os.replace(temporary, base, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
