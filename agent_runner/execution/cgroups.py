"""One cgroup per run, in which the kernel itself enforces memory and processes. Standard library only, Linux.

Version 2 is used where its memory and pids controllers can be had, or else the version 1 hierarchies `memory`
and `pids`, with `freezer` where it can be written. A run's cgroup lies below or beside our own, so that what
bounds the place where we are bounds the run too.

The page cache of files that a run reads and writes counts as its memory, and so do its files on a tmpfs. The
kernel takes cache back before it kills: a full cgroup (`memory_bytes`, `peak_memory_bytes`) is no failure.

No cgroup is changed whose name does not begin with `PREFIX`, with one exception: in version 2 the two
controllers may have to be switched on for the children of our own cgroup or of the one above it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time

from agent_runner.execution import cgroup_files
from agent_runner.execution.cgroup_files import CONTROLLERS, V2, Place

PREFIX = "agent_runner-"
KILL_PATIENCE_S = 10.0

_PROCESS = "/proc/self"
_NAME = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_.-]{1,200}")
_PROBE = "probe-"
# As `_name` makes them: whose it is (a pid, and the pid namespace that it counts in), and when it was made.
_OWNED = re.compile(rf"{PREFIX}(?:{_PROBE})?(?P<pid>[1-9][0-9]{{0,8}})-(?P<space>[0-9]+)-[0-9]+")
_REMOVE_PATIENCE_S = 2.0
_FREEZE_PATIENCE_S = 0.05  # who waits for a device may keep the others from being called frozen
_WAIT_S = 0.002
_AT_ONCE = 256  # processes signalled in one go: each takes a descriptor
_NEAR_LIMIT = 4 * 1024 * 1024  # bytes: memory is charged in batches, and a huge page may not fit in


def available() -> str | None:
    """`v2`, `v1`, or None where no cgroup with limits can be made. Tried out each time: about a millisecond."""
    try:
        return _try_out()
    except OSError:
        return None


def why_unavailable() -> str | None:
    """Why `available` says None, as a sentence for people; None where cgroups are available."""
    try:
        _try_out()
    except OSError as error:
        return error.strerror
    return None


def _try_out() -> str:
    probe = Cgroup.create(_name(_PROBE), memory_bytes=1 << 30, processes=1 << 10)
    probe.remove()
    return probe.version


def name_for_job() -> str:
    """A new name for the cgroup of a job that the calling process supervises."""
    return _name("")


def _name(kind: str) -> str:
    return f"{PREFIX}{kind}{os.getpid()}-{_pid_namespace()}-{time.time_ns()}"


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def leftovers() -> list[str]:
    """Names of all cgroups of ours, wherever they lie in the hierarchies: those that belong to our user.

    Among them are those of runs that go on, and of other servers of this user. Act only on names you know.
    """
    return sorted(_found())


def remove_orphans() -> list[str]:
    """End what is in cgroups whose maker (a job's supervisor, a probe) is gone, and remove them.

    Only those made in our own pid namespace: whether a process of another one lives cannot be told by its
    pid. The number of a namespace is given anew only once all processes in it have ended. Returns their names.
    """
    removed = []
    namespace = _pid_namespace()
    for name in leftovers():
        owned = _OWNED.fullmatch(name)
        if owned is None or int(owned["space"]) != namespace or _is_alive(int(owned["pid"])):
            continue
        cgroup = Cgroup.attach(name)
        if cgroup is not None and cgroup.kill():
            with contextlib.suppress(OSError):  # somebody else was quicker
                cgroup.remove()
                removed.append(name)
    return removed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


class Cgroup:
    """The cgroup of one run: by `create` or `attach`, not by the constructor.

    A count is 0 where the kernel does not tell it, and once the cgroup is gone.
    """

    def __init__(self, name: str, version: str, folders: dict[str, str]) -> None:
        self.name = name
        self.version = version  # "v1" or "v2"
        self._folders = folders  # by controller
        self._tops = list(dict.fromkeys(folders.values()))

    @classmethod
    def create(cls, name: str, *, memory_bytes: int | None, processes: int | None) -> Cgroup:
        """Make the cgroup of that name with its limits (None: no limit), without swap where that can be had.

        processes: how many processes and threads there may be at a time; one more cannot be started (EAGAIN).

        Raises:
            ValueError: the name is not `PREFIX` and then letters, digits, `_`, `.`, `-`.
            FileExistsError: there is one of that name, perhaps with a run in it: `attach` finds it.
            OSError: cgroups cannot be used here; the text says why, and what would help.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"not {PREFIX} and then letters, digits, '_', '.', '-': {name!r}")
        reasons: list[str] = []
        for place in cgroup_files.places(_PROCESS):
            try:
                return _create_in(place, name, memory_bytes, processes)
            except FileExistsError:
                raise
            except OSError as error:
                reasons.append(error.strerror or str(error))
        why = "; ".join(reasons) or "the controllers memory and pids are mounted nowhere for us"
        help_ = "it works as root, or where a cgroup is delegated to this user (systemd-run --user --scope)"
        raise OSError(errno.ENOTSUP, f"no cgroup can be made: {why}; {help_}")

    @classmethod
    def attach(cls, name: str) -> Cgroup | None:
        """The cgroup that a process of this user made under that name; None where there is none."""
        folders = _found().get(name)
        if folders is None:
            return None
        if V2 in folders:
            return cls(name, V2, dict.fromkeys(CONTROLLERS, folders[V2]))
        return cls(name, "v1", folders)

    def enter(self) -> None:
        """Move the calling process into it, and so all that it starts. Nothing but system calls.

        Memory that the process holds already stays on the account of the cgroup it leaves.

        Raises:
            OSError: it may not; it can then be in one hierarchy and not in the other, and should end.
        """
        for folder in self._tops:
            # By `tasks` a single thread moves, without a lock over all forks of the machine: 11 ms less.
            name = "tasks" if self.version == "v1" else "cgroup.procs"
            cgroup_files.write(f"{folder}/{name}", "0")

    # ------------------------------------------------------------ counts

    def memory_bytes(self) -> int:
        """Memory charged to it now, page cache included."""
        return self._number("memory", "memory.current", "memory.usage_in_bytes")

    def peak_memory_bytes(self) -> int:
        """The most that `memory_bytes` ever was; what it is now where version 2 is older than Linux 5.19."""
        peak = self._number("memory", "memory.peak", "memory.max_usage_in_bytes")
        return peak or self.memory_bytes()

    def oom_kills(self) -> int:
        """Processes in it that the kernel killed for want of memory, whoever's limit was at fault."""
        return self._count("memory", "memory.events", "memory.oom_control", "oom_kill")

    def ran_out_of_memory(self) -> bool:
        """Whether its own limit could not be kept: if not, kills are for want of memory outside.

        Version 1 does not count that (`memory.failcnt` stays 0 in Linux 6.18): there, whether it was ever full.
        """
        if self.version == V2:
            return self._count("memory", "memory.events", "", "oom") > 0
        limit = self._number("memory", "", "memory.limit_in_bytes")
        return 0 < limit <= self.peak_memory_bytes() + _NEAR_LIMIT

    def process_limit_hits(self) -> int:
        """How often a process or thread could not be started because of the limit."""
        return self._count("pids", "pids.events", "pids.events", "max")

    def pids(self) -> list[int]:
        """Processes in it and below it. Zombies are not, nor those outside the pid namespace we are in."""
        return sorted(pid for pid in self._listed() if pid > 0)

    def is_empty(self) -> bool:
        """Whether no process is left in it or below it, but zombies."""
        if self.version == V2:
            return "populated 1" not in cgroup_files.read(f"{self._tops[0]}/cgroup.events")
        return not self._listed()

    def _listed(self) -> set[int]:
        """What `cgroup.procs` says; a process that has no pid in our namespace is a 0."""
        folders = [folder for top in self._tops for folder in cgroup_files.below(top)]
        texts = (cgroup_files.read(f"{folder}/cgroup.procs") for folder in folders)
        return {int(word) for text in texts for word in text.split()}

    def _number(self, controller: str, v2: str, v1: str) -> int:
        text = self._text(controller, v2, v1).strip()
        return int(text) if text.isdigit() else 0

    def _count(self, controller: str, v2: str, v1: str, key: str) -> int:
        for line in self._text(controller, v2, v1).splitlines():
            name, _, value = line.partition(" ")
            if name == key and value.isdigit():
                return int(value)
        return 0

    def _text(self, controller: str, v2: str, v1: str) -> str:
        folder = self._folders.get(controller)
        if folder is None:
            return ""
        try:
            return cgroup_files.read(f"{folder}/{v2 if self.version == V2 else v1}")
        except OSError:  # no supervisor shall fail for a figure
            return ""

    # ------------------------------------------------------------ end

    def kill(self, patience_s: float = KILL_PATIENCE_S) -> bool:
        """Kill all in it, also what is forked meanwhile, until it is empty; False if it is not in `patience_s`.

        What is left then is stuck in the kernel. The calling process must not be in it.

        Raises:
            OSError: its processes cannot be listed.
        """
        deadline = time.monotonic() + patience_s
        while not self.is_empty():
            self._kill_once()
            if time.monotonic() >= deadline:
                return self.is_empty()
            time.sleep(_WAIT_S)
        return True

    def _kill_once(self) -> None:
        if self.version == V2 and cgroup_files.try_to_write(f"{self._tops[0]}/cgroup.kill", "1"):
            return  # all at once, since Linux 5.14
        # What is frozen cannot fork.
        self._freeze()
        try:
            self._signal_all()
        finally:
            self._thaw()

    def _freeze(self) -> None:
        if self.version == V2:
            cgroup_files.try_to_write(f"{self._tops[0]}/cgroup.freeze", "1")
        elif "freezer" in self._folders:
            state = f"{self._folders['freezer']}/freezer.state"
            deadline = time.monotonic() + _FREEZE_PATIENCE_S
            while cgroup_files.try_to_write(state, "FROZEN") and time.monotonic() < deadline:
                if cgroup_files.read(state).strip() == "FROZEN":
                    return
                time.sleep(_WAIT_S / 4)

    def _thaw(self) -> None:
        if self.version == V2:
            cgroup_files.try_to_write(f"{self._tops[0]}/cgroup.freeze", "0")
        elif "freezer" in self._folders:
            cgroup_files.try_to_write(f"{self._folders['freezer']}/freezer.state", "THAWED")

    def _signal_all(self) -> None:
        """SIGKILL to every process in it and to no other, also if a stranger is given one of the pids."""
        pids = self.pids()
        for start in range(0, len(pids), _AT_ONCE):
            with contextlib.ExitStack() as stack:
                opened = {pid: _open(pid, stack) for pid in pids[start : start + _AT_ONCE]}
                # A descriptor stands for one process. If its pid is still listed, it is that process.
                for pid in opened.keys() & set(self.pids()):
                    _signal_kill(pid, opened[pid])

    def remove(self) -> None:
        """Remove it, and what the run made below it; nothing happens where it is gone.

        Raises:
            OSError: processes are still in it: `kill` first.
        """
        deadline = time.monotonic() + _REMOVE_PATIENCE_S
        for top in self._tops:
            while (error := _remove(top)) is not None:
                if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                    held = ", ".join(map(str, self.pids())) or "none that can be seen"
                    text = f"cannot remove {top}: {error.strerror}; processes in it: {held}"
                    raise OSError(error.errno, text)
                time.sleep(_WAIT_S)


def _create_in(place: Place, name: str, memory_bytes: int | None, processes: int | None) -> Cgroup:
    folders: dict[str, str] = {}
    place.prepare()
    try:
        for controller, parent in place.parents.items():
            folder = os.path.join(parent, name)
            if folder in folders.values() or _make(folder, needed=controller in CONTROLLERS):
                folders[controller] = folder
        _set_limits(place.version, folders, memory_bytes, processes)
    except BaseException:
        for folder in folders.values():
            _remove(folder)
        raise
    return Cgroup(name, place.version, folders)


def _make(folder: str, *, needed: bool) -> bool:
    """Make it, and say whether that went well; a failure is an error only for what is needed, or exists."""
    try:
        cgroup_files.make_folder(folder)
    except OSError as error:
        if needed or error.errno == errno.EEXIST:
            raise
        return False
    return True


def _set_limits(
    version: str, folders: dict[str, str], memory_bytes: int | None, processes: int | None
) -> None:
    memory, pids = folders["memory"], folders["pids"]
    if version == V2:
        cgroup_files.write(f"{memory}/memory.max", _word(memory_bytes, "max"))
        cgroup_files.try_to_write(f"{memory}/memory.swap.max", "0")
        # The run is one workload: what is left of it after one of its processes was killed is of no use.
        cgroup_files.try_to_write(f"{memory}/memory.oom.group", "1")
    else:
        cgroup_files.write(f"{memory}/memory.limit_in_bytes", _word(memory_bytes, "-1"))
        with_swap = f"{memory}/memory.memsw.limit_in_bytes"
        cgroup_files.try_to_write(with_swap, _word(memory_bytes, "-1"))
        cgroup_files.try_to_write(f"{memory}/memory.swappiness", "0")
    cgroup_files.write(f"{pids}/pids.max", _word(processes, "max"))


def _word(limit: int | None, none: str) -> str:
    return none if limit is None else str(limit)


def _found() -> dict[str, dict[str, str]]:
    """Every cgroup of ours: name -> controller (`v2` for the one of version 2) -> folder."""
    found: dict[str, dict[str, str]] = {}
    for kind, hierarchy in cgroup_files.mounted(_PROCESS).items():
        for folder in cgroup_files.below(hierarchy.mount, stop_at=PREFIX):
            name = os.path.basename(folder)
            if _NAME.fullmatch(name) and _belongs_to_us(folder):
                found.setdefault(name, {})[kind] = folder
    return found


def _belongs_to_us(folder: str) -> bool:
    try:
        return os.stat(folder).st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _open(pid: int, stack: contextlib.ExitStack) -> int | None:
    """A descriptor of the process; None for one that has ended, and where there are no such descriptors."""
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def _signal_kill(pid: int, descriptor: int | None) -> None:
    with contextlib.suppress(OSError):  # it has ended
        if descriptor is None:
            os.kill(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _remove(top: str) -> OSError | None:
    try:
        cgroup_files.remove_tree(top)
    except OSError as error:
        return error
    return None
