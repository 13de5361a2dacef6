"""A job's private folders: made before it starts, emptied when its tree is dead. Standard library only.

    RECORD_DIR/box/home     its HOME
    RECORD_DIR/box/work     inside a sandbox its working directory, seen at the worktree's path
    RECORD_DIR/box/tmp      inside a sandbox its /tmp
    RECORD_DIR/job/         what it may write of its own records: the exception, events, stacks
    RECORD_DIR/tmp          without a sandbox a link to its TMPDIR

What the job wrote is a stranger's: nothing of it is followed, opened without care, or believed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from agent_runner.execution import job_files, trees
from agent_runner.execution.job_files import Spec

# What is taken over from the job's own folder, and how much of it at most.
_MAX_BYTES = {
    job_files.EXCEPTION: 1024 * 1024,
    job_files.STACKS: 1024 * 1024,
    job_files.EVENTS: 4 * 1024 * 1024,
}
# Entries of the working directory that are mounted one by one: the time it takes grows with their square.
_MOST_MOUNTS = 100

_LOGS = (job_files.STDOUT, job_files.STDERR, job_files.TURNS)
_RESULTS = "final_info.json"  # the contract's name for them


def is_sandboxed(spec: Spec) -> bool:
    """Whether the job has a file system of its own, in which its working directory is `box/work`."""
    return spec.confinement.level not in ("L0", "L1")


def box(spec: Spec, name: str = "") -> str:
    """A folder of the box; the box itself without a name."""
    return os.path.join(spec.record_dir, job_files.BOX, name).rstrip("/")


def job_folder(spec: Spec) -> str:
    """Where the job itself may write records."""
    return os.path.join(spec.record_dir, job_files.JOB)


def linked_folder(record_dir: str, number: int) -> str:
    """Where the job sees the folder of that number among `Confinement.linked`."""
    return os.path.join(record_dir, job_files.BOX, "linked", str(number))


def linked_folders(spec: Spec) -> list[str]:
    """All of these."""
    return [linked_folder(spec.record_dir, n) for n in range(len(spec.confinement.linked))]


def prepare(spec: Spec, user: int | None) -> None:
    """Make the private folders, for a user of their own where one is given.

    Raises:
        OSError: they cannot be made.
    """
    folders = [box(spec, "home"), job_folder(spec)]
    if is_sandboxed(spec):
        folders += [box(spec, "work"), box(spec, "tmp")]
    elif spec.confinement.out is not None:
        folders.append(os.path.dirname(spec.confinement.out))
    elif spec.out_dir is not None and spec.confinement.level == "L1":
        folders.append(spec.out_dir)  # the only place of the worktree in which it may write
    for folder in folders:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if user is not None:
            os.chown(folder, user, user)
    for folder in spec.confinement.write:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if user is not None:
            trees.let_others_write(folder)
    if user is not None:
        _let_in(spec, user)
    for source, folder in zip(spec.confinement.linked, linked_folders(spec), strict=True):
        _link(source, folder, user)


def _let_in(spec: Spec, user: int) -> None:
    """What a user of its own needs to get at what is there."""
    # Root comes through without its capabilities: our first program inside may be installed below /tmp.
    os.chown(box(spec, "tmp"), user, os.getegid())
    os.chmod(box(spec, "tmp"), 0o710)
    # A server may keep its files to itself (umask 077).
    for entry in _entries(spec.cwd):
        with contextlib.suppress(FileNotFoundError):
            trees.let_others_read(entry.path)


def _link(source: str, folder: str, user: int | None) -> None:
    """Make the folders of a tree again, with links for its files; locks are the job's own affair."""
    for base, _, files in os.walk(source):
        made = os.path.normpath(os.path.join(folder, os.path.relpath(base, source)))
        os.makedirs(made, mode=0o755, exist_ok=True)
        if user is not None:
            os.chown(made, user, user)
        for name in files:
            if not name.endswith(".lock"):
                os.symlink(os.path.join(base, name), os.path.join(made, name))


class View(NamedTuple):
    """What a sandboxed job finds in its working directory: what is mounted there, and links with their text.

    Links are made again, since mounted they would be followed on the host. Where there is too much to mount,
    the rest are links to `whole`, a place at which the whole working directory is to be seen.
    """

    mounted: list[str]
    links: dict[str, str]
    whole: str | None


def view(spec: Spec) -> View:
    """See `View`. Folders and programs are mounted first."""
    entries = _entries(spec.cwd)
    links = {entry.name: os.readlink(entry.path) for entry in entries if entry.is_symlink()}
    real = [entry for entry in entries if entry.name not in links]
    real.sort(key=lambda entry: (not entry.is_dir(), not entry.name.endswith(".py"), entry.name))
    mounted, rest = real[:_MOST_MOUNTS], real[_MOST_MOUNTS:]
    whole = box(spec, "worktree")
    links |= {entry.name: os.path.join(whole, entry.name) for entry in rest}
    return View([entry.name for entry in mounted], links, whole if rest else None)


def make_links(spec: Spec, links: dict[str, str]) -> None:
    """Make the links of a view in the job's own working directory."""
    for name, text in links.items():
        with contextlib.suppress(FileExistsError):
            os.symlink(text, os.path.join(box(spec, "work"), name))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(
            (
                entry
                for entry in found
                if entry.name != ".git"
                and (entry.is_symlink() or entry.is_dir() or entry.is_file())
            ),
            key=lambda entry: entry.name,
        )


def collect(spec: Spec) -> list[str]:
    """Take over what the job left, once its tree is dead; returns what could not be. Repeatable."""
    notes: list[str] = []
    for name, limit in _MAX_BYTES.items():
        with _noting(notes, f"{name} was not taken over"):
            source, target = (os.path.join(f, name) for f in (job_folder(spec), spec.record_dir))
            _take_over(source, target, limit)
    with _noting(notes, f"its output folder was left in {box(spec)}"):
        _fetch_results(spec)
    if is_sandboxed(spec):
        for folder in (box(spec), job_folder(spec), *spec.confinement.write):
            trees.own(folder)
        with _noting(notes, f"{box(spec, 'work')} was not cleared up"):
            _remove_what_we_made(spec)
    for name in ("tmp", "home", "linked"):
        trees.remove(box(spec, name))
    for folder in (box(spec), job_folder(spec)):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return notes


@contextlib.contextmanager
def _noting(notes: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        notes.append(f"{what}: {error.strerror or error}")


def _take_over(source: str, target: str, limit: int) -> None:
    """Copy a regular file that has one name, at most `limit` bytes of it; anything else is refused."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise OSError("not a regular file of its own")
        data = b""
        while len(data) < limit and (part := os.read(descriptor, limit - len(data))):
            data += part
    finally:
        os.close(descriptor)
    aside = f"{target}.{os.getpid()}.aside"
    copy = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(copy, "wb") as file:
        file.write(data)
    os.replace(aside, target)
    if len(data) < limit:  # otherwise the rest of it stays where it is, as evidence
        os.unlink(source)


def _fetch_results(spec: Spec) -> None:
    """Move the output folder from where the job wrote it to the worktree, as it is."""
    made = spec.confinement.out
    if spec.out_dir is None:
        return
    if made is None and is_sandboxed(spec) and os.path.dirname(spec.out_dir) == spec.cwd:
        made = os.path.join(box(spec, "work"), os.path.basename(spec.out_dir))
    if made is None:
        return
    if os.path.lexists(made) and not os.path.lexists(spec.out_dir):
        trees.own(made)
        os.rename(made, spec.out_dir)
    if spec.confinement.out is not None:
        with contextlib.suppress(OSError):  # what else was written beside it stays
            os.rmdir(os.path.dirname(made))


def _remove_what_we_made(spec: Spec) -> None:
    """Links, and the empty files and folders that something was mounted on; what else is there stays."""
    work = box(spec, "work")
    for entry in _entries(spec.cwd) if os.path.isdir(spec.cwd) else []:
        path = os.path.join(work, entry.name)
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                os.rmdir(path)
            elif stat.S_ISLNK(status.st_mode) or status.st_size == 0:
                os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(work)


def make_durable(spec: Spec) -> None:
    """Have the logs and the results on disk.

    To be done before the end is recorded: after a power cut an end without results would be taken for the
    experiment's fault.
    """
    kept = [os.path.join(spec.record_dir, name) for name in (*_LOGS, *_MAX_BYTES)]
    folders = [spec.record_dir]
    if spec.out_dir is not None:
        kept.append(os.path.join(spec.out_dir, _RESULTS))
        folders += [spec.out_dir, os.path.dirname(spec.out_dir)]
    for path in (*kept, *folders):
        with contextlib.suppress(OSError):  # there is none, or nothing that could be read
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def temporary_folder(record_dir: str) -> str | None:
    """Where the job's TMPDIR is, asked before the experiment runs, since it could change the link."""
    link = os.path.join(record_dir, job_files.SCRATCH_LINK)
    try:
        folder = os.readlink(link)
    except OSError:
        return None
    return folder if os.path.basename(folder).startswith(job_files.SCRATCH_PREFIX) else None


def remove_temporary_folder(record_dir: str, folder: str | None) -> None:
    """Remove the job's TMPDIR and the link to it."""
    if folder is None:
        return
    trees.remove(folder)
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(record_dir, job_files.SCRATCH_LINK))
