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

from agent_runner.execution import job_files
from agent_runner.execution.job_files import Spec

# What is taken over from the job's own folder, and how much of it at most.
_MAX_BYTES = {
    job_files.EXCEPTION: 1024 * 1024,
    job_files.STACKS: 1024 * 1024,
    job_files.EVENTS: 4 * 1024 * 1024,
}


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


def prepare(spec: Spec, user: int | None) -> None:
    """Make the private folders, for a user of their own where one is given.

    Raises:
        OSError: they cannot be made.
    """
    folders = [box(spec, "home"), job_folder(spec)]
    if is_sandboxed(spec):
        folders += [box(spec, "work"), box(spec, "tmp")]
    elif spec.out_dir is not None and spec.confinement.level == "L1":
        folders.append(spec.out_dir)  # the only place of the worktree in which it may write
    for folder in folders:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if user is not None:
            os.chown(folder, user, user)
    for folder in spec.confinement.write:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if user is not None:
            _open_to_all(folder)
    for number, folder in enumerate(spec.confinement.linked):
        _link(folder, linked_folder(spec.record_dir, number), user)


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


def _open_to_all(folder: str) -> None:
    """Let any user write below a folder of ours, since each job has another; read-only folders stay so."""
    for base, _, _ in os.walk(folder):
        if os.stat(base).st_mode & stat.S_IWUSR:
            os.chmod(base, 0o777)


def worktree_entries(spec: Spec) -> list[str]:
    """Names in the working directory that the job gets to see; links are none of them (see `link_names`)."""
    return [entry.name for entry in _entries(spec.cwd) if not entry.is_symlink()]


def copy_links(spec: Spec) -> None:
    """Make the working directory's links again in the job's own: bound, they would be followed on the host."""
    for entry in _entries(spec.cwd):
        if entry.is_symlink():
            with contextlib.suppress(FileExistsError):
                os.symlink(os.readlink(entry.path), os.path.join(box(spec, "work"), entry.name))


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
        try:
            _take_over(
                os.path.join(job_folder(spec), name), os.path.join(spec.record_dir, name), limit
            )
        except OSError as error:
            notes.append(f"{name} was not taken over: {error.strerror or error}")
    if is_sandboxed(spec):
        try:
            _fetch_results(spec)
        except OSError as error:
            notes.append(f"its output folder was not taken over: {error.strerror or error}")
        for folder in (box(spec), job_folder(spec), *spec.confinement.write):
            _own(folder)
        _remove_what_we_made(spec)
    for name in ("tmp", "home", "linked"):
        remove_tree(box(spec, name))
    for folder in (box(spec), job_folder(spec)):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return notes


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
    """Move the output folder from the job's working directory to the worktree, as it is."""
    if spec.out_dir is None or os.path.dirname(spec.out_dir) != spec.cwd:
        return
    made = os.path.join(box(spec, "work"), os.path.basename(spec.out_dir))
    if os.path.lexists(made) and not os.path.lexists(spec.out_dir):
        _own(made)
        os.rename(made, spec.out_dir)


def _own(path: str) -> None:
    """Give a tree to ourselves (a job may have had a user of its own), and let its owner read it."""
    if os.geteuid() != 0:
        return
    pending = [path]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):
            os.chown(current, os.geteuid(), os.getegid(), follow_symlinks=False)
            if stat.S_ISDIR(os.lstat(current).st_mode):
                pending += [entry.path for entry in os.scandir(current)]


def _remove_what_we_made(spec: Spec) -> None:
    """Mount points are left in the working directory as empty files and folders; what else is there stays."""
    work = box(spec, "work")
    for entry in _entries(spec.cwd) if os.path.isdir(spec.cwd) else []:
        path = os.path.join(work, entry.name)
        with contextlib.suppress(OSError):
            if os.path.islink(path) or os.path.getsize(path) == 0:
                os.unlink(path)
            else:
                os.rmdir(path)
    with contextlib.suppress(OSError):
        os.rmdir(work)


def remove_tree(folder: str) -> None:
    """Remove a folder of any depth that a job has filled; what resists stays."""
    for base, folders, files in os.walk(folder, topdown=False):
        for name in files:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(base, name))
        for name in folders:
            path = os.path.join(base, name)
            with contextlib.suppress(OSError):
                os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    with contextlib.suppress(OSError):
        os.rmdir(folder)
    if os.path.lexists(folder):
        import shutil  # by descriptors, for paths that are too long to be named; slow to import

        with contextlib.suppress(OSError, RecursionError):
            shutil.rmtree(folder, ignore_errors=True)


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
    remove_tree(folder)
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(record_dir, job_files.SCRATCH_LINK))
