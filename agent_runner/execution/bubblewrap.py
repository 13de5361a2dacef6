"""The command line of the sandbox: bubblewrap around `inside.py` around the experiment. Standard library only.

https://github.com/containers/bubblewrap. Nothing of the host is there but what is listed here or in the job's
`Confinement`; nothing of it can be written to but the job's own folders. Two ways: started by root, root makes
the mounts and `inside` takes another real user (uid 0 without capabilities would still own root's files);
started by anybody else, a user namespace.
"""

from __future__ import annotations

import os

from agent_runner.execution import inside, scratch, visible
from agent_runner.execution.job_files import Spec

_PROGRAMS = ("/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap")
_FLAGS = (
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--hostname", "sandbox", "--new-session", "--die-with-parent", "--cap-drop", "ALL"),
)
# By root: what `inside` needs to become another user. It ends with the change.
_FLAGS_ROOT = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
_FLAGS_USER = ("--unshare-user", "--disable-userns")
_SHARED_MEMORY_SHARE = 4  # /dev/shm may take one part in so many of the machine's memory
_FIRST_USER = 0x7000_0000


class Unavailable(Exception):
    """There is no bubblewrap here; the text says what to do."""


def own_user() -> int | None:
    """A user id for one job, no other living shim's; None where we are not root and cannot give one."""
    return _FIRST_USER + os.getpid() if os.geteuid() == 0 else None


def command(
    spec: Spec, *, user: int | None, seccomp: int, barrier: int, status: int, passwd: int
) -> list[str]:
    """The command line that runs `spec.argv` inside the sandbox.

    seccomp, barrier, status, passwd: inheritable descriptors of the filter's program, of the two pipes of
    `inside`, and of the text of an /etc/passwd.

    Raises:
        Unavailable: bubblewrap is not installed.
    """
    program = next(filter(os.path.exists, _PROGRAMS), None)
    if program is None:
        raise Unavailable("bubblewrap (bwrap) is not installed: apt-get install bubblewrap")
    processes = 0 if spec.limits.processes is None else spec.limits.processes + 1  # and `inside`
    numbers = (barrier, status, user or 0, processes)
    init = (
        visible.INTERPRETER,
        "-I",
        "-S",
        os.path.abspath(inside.__file__),
        *map(str, numbers),
        spec.cwd,
    )
    return [
        program,
        *_FLAGS,
        *(_FLAGS_USER if user is None else _FLAGS_ROOT),
        *(() if spec.confinement.network else ("--unshare-net",)),
        *("--seccomp", str(seccomp)),
        *_mounts(spec, passwd),
        *("--chdir", "/"),
        "--",
        *init,
        *spec.argv,
    ]


def _mounts(spec: Spec, passwd: int) -> list[str]:
    given = spec.confinement
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _SHARED_MEMORY_SHARE
    if spec.limits.memory_mb is not None:
        memory = min(memory, spec.limits.memory_mb * 1024 * 1024)
    mounts = Mounts()
    mounts.add("--bind", scratch.box(spec, "tmp"), at="/tmp")
    mounts.forget("/tmp")  # homes and interpreters may lie below the host's /tmp
    for path in visible.paths(spec):
        mounts.show(path)
    mounts.add("--perms", "0644", "--ro-bind-data", str(passwd), at="/etc/passwd")
    mounts.add("--proc", at="/proc")
    mounts.add("--dev", at="/dev")
    mounts.add("--size", str(memory), "--perms", "1777", "--tmpfs", at="/dev/shm")
    for device in given.devices:
        mounts.add("--dev-bind", device, at=device)
    for folder in given.hidden:
        if mounts.covers(folder):
            mounts.add("--perms", "0755", "--tmpfs", at=folder)
            mounts.forget(folder)
    linked = [scratch.linked_folder(spec.record_dir, n) for n in range(len(given.linked))]
    for folder in (*given.write, *linked, scratch.box(spec, "home"), scratch.job_folder(spec)):
        mounts.add("--bind", folder, at=folder)
    mounts.add("--bind", scratch.box(spec, "work"), at=spec.cwd)
    for name in scratch.worktree_entries(spec):
        entry = os.path.join(spec.cwd, name)
        mounts.arguments += ["--ro-bind", entry, entry]
    return [*mounts.arguments, "--remount-ro", "/dev", "--remount-ro", "/"]


class Mounts:
    """Arguments that build the file system, in order: what comes later covers what came before."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self._made: set[str] = {"/"}
        self._bound: set[str] = set()

    def show(self, path: str) -> None:
        """Show a path of the host, read-only; a link is made again as a link."""
        if self.covers(path):
            return
        if os.path.islink(path):
            self._parents(path)
            self.arguments += ["--symlink", os.readlink(path), path]
            target = os.path.realpath(path)
            if not self.covers(target) and not path.startswith(visible.SYSTEM):
                self.show(target)
            return
        self.add("--ro-bind", path, at=path)

    def add(self, *arguments: str, at: str) -> None:
        """Mount something at a place; the folders above it are made so that everybody can pass."""
        self._parents(at)
        self.arguments += [*arguments, at]
        self._bound.add(at)

    def covers(self, path: str) -> bool:
        """Whether the place lies inside something that is mounted already."""
        return any(parent in self._bound for parent in _with_parents(path))

    def forget(self, path: str) -> None:
        """What is mounted there is a new folder of ours: places below it have to be made."""
        self._bound.discard(path)
        self._made.add(path)

    def _parents(self, path: str) -> None:
        for parent in reversed(_with_parents(os.path.dirname(path))):
            if parent in self._made or self._inside_mount(parent):
                continue
            self._made.add(parent)
            self.arguments += ["--perms", "0755", "--dir", parent]

    def _inside_mount(self, path: str) -> bool:
        """Whether the nearest known place above the path is a mount and not a folder that we made."""
        for parent in _with_parents(path):
            if parent in self._made:
                return False
            if parent in self._bound:
                return True
        return False


def _with_parents(path: str) -> list[str]:
    """The path and the folders above it, the deepest first."""
    found = [path]
    while (parent := os.path.dirname(found[-1])) != found[-1]:
        found.append(parent)
    return found


def passwd_text(user: int | None, home: str) -> bytes:
    """An /etc/passwd that knows root and the user that the job runs as."""
    uid, gid = (user, user) if user is not None else (os.getuid(), os.getgid())
    return f"root:x:0:0:root:/root:/bin/sh\nrunner:x:{uid}:{gid}:runner:{home}:/bin/sh\n".encode()
