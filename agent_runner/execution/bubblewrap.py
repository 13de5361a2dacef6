"""The command line of the sandbox: bubblewrap around `inside.py` around the experiment. Standard library only.

https://github.com/containers/bubblewrap. Nothing of the host is there but what is listed here or in the job's
`Confinement`; nothing of it can be written to but the job's own folders. Two ways: started by root, root makes
the mounts and `inside` takes another real user (uid 0 without capabilities would still own root's files);
started by anybody else, a user namespace.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import NamedTuple

from agent_runner.execution import inside, scratch, visible
from agent_runner.execution.job_files import Spec

_PROGRAMS = ("/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap")
_FLAGS = (
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    # A name that can be looked up: programs ask for the address of the machine they are on.
    *("--hostname", "localhost", "--new-session", "--die-with-parent", "--cap-drop", "ALL"),
)
# By root: what `inside` needs to become another user. It ends with the change.
_FLAGS_ROOT = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
_FLAGS_USER = ("--unshare-user", "--disable-userns")
_SHARED_MEMORY_SHARE = 4  # /dev/shm may take one part in so many of the machine's memory
_FIRST_USER = 0x7000_0000
# The version of Linux since which each user namespace has a count of its own.
_PROCESSES_BY_NAMESPACE = (5, 14)
_MOST_LINKS = 40  # as the kernel's own limit
_HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"


class Unavailable(Exception):
    """There is no bubblewrap here; the text says what to do."""


class Ends(NamedTuple):
    """Inheritable descriptors that `inside` works with: of two pipes, and of the environment's text."""

    barrier: int
    status: int
    environment: int


class Command(NamedTuple):
    """A command line of bubblewrap, and the descriptors of what it is to read."""

    argv: list[str]
    files: list[int]


def program() -> str | None:
    """Where bubblewrap is; None where it is not."""
    return next(filter(os.path.exists, _PROGRAMS), None)


def own_user() -> int | None:
    """A user id for one job, no other living shim's; None where we are not root and cannot give one."""
    return _FIRST_USER + os.getpid() if os.geteuid() == 0 else None


def environment(spec: Spec) -> dict[str, str]:
    """Of bubblewrap itself and `inside`: what the job is told could tell the loader to load the job's own code.

    With the mark by which what is left of a job is found.
    """
    mark = {n: v for n, v in spec.env.items() if n == "AGENT_RUNNER_RECORD_DIR"}
    return mark | {n: v for n, v in os.environ.items() if n == "LD_LIBRARY_PATH"}


def command(spec: Spec, *, user: int | None, seccomp: int, ends: Ends) -> Command:
    """What runs `spec.argv` inside the sandbox. `seccomp`: a descriptor of the filter's program.

    Raises:
        Unavailable: bubblewrap is not installed.
    """
    path = program()
    if path is None:
        raise Unavailable("bubblewrap (bwrap) is not installed: apt-get install bubblewrap")
    files = [memory_file("passwd", _passwd(user, spec.env.get("HOME", "/")))]
    if not spec.confinement.network:
        files.append(memory_file("hosts", _HOSTS))
    options = [
        *_FLAGS,
        *(_FLAGS_USER if user is None else _FLAGS_ROOT),
        *(() if spec.confinement.network else ("--unshare-net",)),
        *("--seccomp", str(seccomp)),
        *_mounts(spec, *files),
        *("--chdir", "/"),
    ]
    numbers = (ends.barrier, ends.status, ends.environment, user or 0, _processes(spec, user))
    first = (visible.INTERPRETER, "-I", "-S", _first_program(), *map(str, numbers))
    # By descriptor: there can be more of them than the kernel takes on a command line.
    files.append(memory_file("options", b"\0".join(map(os.fsencode, options))))
    argv = [path, "--args", str(files[-1]), "--", *first, spec.cwd, *spec.argv]
    return Command(argv, files)


def _first_program() -> str:
    """`inside`, compiled where it could be: by this very interpreter, which has just imported it."""
    compiled = str(getattr(inside, "__cached__", None))
    return os.path.abspath(compiled if os.path.exists(compiled) else inside.__file__)


def memory_file(name: str, content: bytes) -> int:
    """A descriptor from which the content can be read; closed by exec until it is made inheritable."""
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _processes(spec: Spec, user: int | None) -> int:
    """The bound for the job's user; 0 where others have that user, too, or where a cgroup counts."""
    wanted = spec.limits.processes
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    own_count = user is not None or release >= _PROCESSES_BY_NAMESPACE
    if wanted is None or not own_count or spec.confinement.level == "L3":
        return 0
    return wanted + 1  # and `inside`


def _mounts(spec: Spec, passwd: int, hosts: int | None = None) -> list[str]:
    given = spec.confinement
    mounts = Mounts()
    mounts.add("--bind", scratch.box(spec, "tmp"), at="/tmp")
    mounts.forget("/tmp")  # homes and interpreters may lie below the host's /tmp
    mounts.show(visible.paths(spec))
    for number, path in ((passwd, "/etc/passwd"), (hosts, "/etc/hosts")):
        if number is not None:
            mounts.add("--perms", "0644", "--ro-bind-data", str(number), at=path)
    mounts.add("--proc", at="/proc")
    mounts.add("--dev", at="/dev")
    size = str(_shared_memory(spec))
    mounts.add("--size", size, "--perms", "1777", "--tmpfs", at="/dev/shm")
    for device in given.devices:
        mounts.add("--dev-bind", device, at=device)
    private = [os.path.realpath(folder) for folder in given.hidden]
    inside_private = {path for path in given.write if _is_within(os.path.realpath(path), private)}
    for path in sorted({*given.write} - inside_private):
        mounts.bind(path)
    hidden = [folder for folder in sorted(private) if mounts.hide(folder)]
    mounts.show(visible.paths(spec))  # what of it lies in a folder that is hidden by now
    own = (scratch.box(spec, "home"), scratch.job_folder(spec), *scratch.linked_folders(spec))
    for path in (*sorted(inside_private), *own):
        mounts.bind(path)
    _show_worktree(mounts, spec)
    read_only = [x for folder in (*hidden, "/dev", "/") for x in ("--remount-ro", folder)]
    return [*mounts.arguments, *read_only]


def _show_worktree(mounts: Mounts, spec: Spec) -> None:
    """The working directory is the job's own, with the worktree's entries in it."""
    seen = scratch.view(spec)
    mounts.bind(scratch.box(spec, "work"), at=spec.cwd)
    place = mounts.follow(spec.cwd)
    for name in seen.mounted:
        mounts.arguments += ["--ro-bind", os.path.join(spec.cwd, name), os.path.join(place, name)]
    if seen.whole is not None:
        mounts.add("--ro-bind", spec.cwd, at=mounts.follow(seen.whole))


def _shared_memory(spec: Spec) -> int:
    """How many bytes /dev/shm may hold."""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _SHARED_MEMORY_SHARE
    return size if spec.limits.memory_mb is None else min(size, spec.limits.memory_mb * 1024 * 1024)


class Mounts:
    """Arguments that build the file system, in order: what comes later covers what came before.

    Everything is mounted at its real place, and the links on the way there are made again.
    """

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self._folders: set[str] = {"/"}  # made by us: what lies below them has to be made
        self._mounted: set[str] = set()
        self._links: set[str] = set()

    def show(self, paths: Iterable[str]) -> None:
        """Show paths of the host, read-only; those that are seen already are passed over."""
        resolved = [self._resolve(path) for path in paths]
        for path in sorted(real for real, _ in resolved):
            if not self.covers(path):
                self.add("--ro-bind", path, at=path)
        for _, links in resolved:
            self._make(links)

    def bind(self, path: str, at: str | None = None) -> None:
        """Mount a folder of the host, writable."""
        self.add("--bind", path, at=self.follow(at or path))

    def follow(self, path: str) -> str:
        """The real place of a path of the host, with the links on the way there made."""
        real, links = self._resolve(path)
        self._make(links)
        return real

    def hide(self, folder: str) -> bool:
        """Cover a folder by an empty one, if it is to be seen."""
        if not self.covers(folder):
            return False
        self.add("--perms", "0755", "--tmpfs", at=folder)
        self.forget(folder)
        return True

    def add(self, *arguments: str, at: str) -> None:
        """Mount something at a place; the folders above it are made so that everybody can pass."""
        self._make_parents(at)
        self.arguments += [*arguments, at]
        for known in (self._folders, self._mounted, self._links):
            known -= {path for path in known if _is_within(path, [at])}
        self._mounted.add(at)

    def covers(self, path: str) -> bool:
        """Whether the nearest known place, at or above the path, is a mount and not a folder that we made."""
        for place in _with_parents(path):
            if place in self._folders:
                return False
            if place in self._mounted:
                return True
        return False

    def forget(self, path: str) -> None:
        """What is mounted there is a new folder of ours."""
        self._mounted.discard(path)
        self._folders.add(path)

    def _make_parents(self, path: str) -> None:
        for parent in reversed(_with_parents(os.path.dirname(path))):
            if parent not in self._folders and not self.covers(parent):
                self._folders.add(parent)
                self.arguments += ["--perms", "0755", "--dir", parent]

    def _make(self, links: dict[str, str]) -> None:
        for place, text in links.items():
            if place not in self._links and not self.covers(place):
                self._make_parents(place)
                self._links.add(place)
                self.arguments += ["--symlink", text, place]

    def _resolve(self, path: str) -> tuple[str, dict[str, str]]:
        """The path without links, and those that lead there: place -> text.

        Raises:
            OSError: they lead in a circle.
        """
        links: dict[str, str] = {}
        followed = 0
        current, rest = "/", path.split("/")[::-1]
        while rest:
            # What is above has no links: its parent is the one before the last slash.
            place = os.path.normpath(os.path.join(current, rest.pop()))
            # A place of our own is what we made of it, whatever it is on the host.
            if place in self._folders or place in self._mounted or not os.path.islink(place):
                current = place
                continue
            followed += 1
            if followed > _MOST_LINKS:
                raise OSError(errno.ELOOP, f"too many links on the way to {path}")
            links[place] = text = os.readlink(place)
            rest += text.split("/")[::-1]
            current = "/" if text.startswith("/") else current
        return current, links


def _is_within(path: str, folders: Iterable[str]) -> bool:
    return any(folder in ("/", path) or path.startswith(f"{folder}/") for folder in folders)


def _with_parents(path: str) -> list[str]:
    """The path and the folders above it, the deepest first."""
    found = [path]
    while (parent := os.path.dirname(found[-1])) != found[-1]:
        found.append(parent)
    return found


def _passwd(user: int | None, home: str) -> bytes:
    """An /etc/passwd that knows root and the user that the job runs as."""
    uid, gid = (user, user) if user is not None else (os.getuid(), os.getgid())
    return f"root:x:0:0:root:/root:/bin/sh\nrunner:x:{uid}:{gid}:runner:{home}:/bin/sh\n".encode()
