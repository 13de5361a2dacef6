"""Real cgroups, where this user may make them."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shim_jobs import ROOT, until

from agent_runner.execution import cgroup_files, cgroups, process_tree
from agent_runner.execution.cgroups import PREFIX, Cgroup

MIB = 2**20

needs_cgroups = pytest.mark.skipif(
    cgroups.available() is None, reason=f"no cgroups here: {cgroups.why_unavailable()}"
)


def a_name() -> str:
    return f"{PREFIX}test-{os.getpid()}-{secrets.token_hex(4)}"


class Group:
    """A cgroup of the test's own, and programs in it."""

    def __init__(
        self,
        memory_bytes: int | None = None,
        processes: int | None = None,
        name: str | None = None,
    ) -> None:
        name = name or a_name()
        self.cgroup = Cgroup.create(name, memory_bytes=memory_bytes, processes=processes)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, code: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-I", "-S", "-c", code]
        program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=self.cgroup.enter,
        )
        self.started.append(program)
        return program

    def clean_up(self) -> None:
        """Whatever the test has made of its own handle."""
        found = Cgroup.attach(self.cgroup.name)
        assert found is None or found.kill()
        for program in self.started:
            program.communicate()
        if found is not None:
            found.remove()
        assert self.cgroup.name not in cgroups.leftovers()


@pytest.fixture
def groups() -> Iterator[type[Group]]:
    """Makes groups, and cleans up after them."""
    made: list[Group] = []

    class Made(Group):
        def __init__(
            self,
            memory_bytes: int | None = None,
            processes: int | None = None,
            name: str | None = None,
        ) -> None:
            super().__init__(memory_bytes, processes, name)
            made.append(self)

    yield Made
    for group in made:
        group.clean_up()


@pytest.fixture
def adopt_orphans() -> Iterator[None]:
    """Daemons of a test become our children, as they become a shim's, and are taken leave of here."""
    assert process_tree.become_subreaper()
    yield
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    assert process_tree._prctl(process_tree._PR_SET_CHILD_SUBREAPER, 0)


# ---------------------------------------------------------------- limits


@needs_cgroups
def test_a_program_beyond_its_memory_is_killed_and_counted(groups: type[Group]) -> None:
    group = groups(memory_bytes=64 * MIB)
    hog = group.start("data = bytearray(300 * 2**20)")
    assert hog.wait() == -signal.SIGKILL
    assert group.cgroup.oom_kills() == 1
    assert group.cgroup.ran_out_of_memory()
    assert 60 * MIB < group.cgroup.peak_memory_bytes() <= 64 * MIB


@needs_cgroups
@pytest.mark.parametrize("size", [64 * MIB, None])
def test_swap_is_no_way_around_the_limit(groups: type[Group], size: int | None) -> None:
    cgroup = groups(memory_bytes=size).cgroup
    name = "memory.swap.max" if cgroup.version == "v2" else "memory.memsw.limit_in_bytes"
    path = Path(cgroup._folders["memory"], name)
    if not path.exists():
        pytest.skip("this kernel does not count swap")
    limit = int(path.read_text())
    assert limit == (0 if cgroup.version == "v2" else size or limit)
    assert size is not None or cgroup.version == "v2" or limit > 2**60


@needs_cgroups
def test_memory_of_a_small_program_is_measured_and_nothing_is_killed(groups: type[Group]) -> None:
    group = groups(memory_bytes=512 * MIB)
    program = group.start("x = b'x' * (50 * 2**20); print(1, flush=True); input()")
    assert program.stdout is not None and program.stdout.readline()
    assert 50 * MIB < group.cgroup.memory_bytes() <= group.cgroup.peak_memory_bytes() < 200 * MIB
    assert group.cgroup.oom_kills() == 0 and not group.cgroup.ran_out_of_memory()


@needs_cgroups
def test_page_cache_beyond_the_limit_kills_nobody(groups: type[Group], tmp_path: Path) -> None:
    group = groups(memory_bytes=48 * MIB)
    code = f"""
with open({str(tmp_path / "data")!r}, "wb") as file:
    for _ in range(100): file.write(bytes(2**20))
"""
    assert group.start(code).wait() == 0
    assert group.cgroup.oom_kills() == 0


@needs_cgroups
def test_a_process_killed_by_somebody_else_is_no_want_of_memory(groups: type[Group]) -> None:
    group = groups(memory_bytes=256 * MIB)
    program = group.start("print(1, flush=True); input()")
    assert program.stdout is not None and program.stdout.readline()
    program.kill()
    assert program.wait() == -signal.SIGKILL
    assert group.cgroup.oom_kills() == 0 and not group.cgroup.ran_out_of_memory()


@needs_cgroups
@pytest.mark.parametrize("kind", ["fork", "thread"])
def test_more_processes_or_threads_than_allowed_cannot_be_started(
    groups: type[Group], kind: str
) -> None:
    start_one = {
        "fork": "os.fork() or time.sleep(1000)",
        "thread": "_thread.start_new_thread(time.sleep, (1000,))",
    }
    code = f"""
import _thread, os, time
started = 1
try:
    for _ in range(50):
        {start_one[kind]}
        started += 1
except (OSError, RuntimeError):
    print(started, flush=True)
"""
    group = groups(processes=8)
    program = group.start(code)
    assert program.stdout is not None
    assert program.stdout.readline() == "8\n"
    assert group.cgroup.process_limit_hits() >= 1
    assert group.cgroup.oom_kills() == 0


# ---------------------------------------------------------------- end


DAEMONS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(8):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("daemon", flush=True)
            while True: time.sleep(1000)
        os._exit(0)
    os.wait()
print("done", flush=True)
"""
FORKING = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("done", flush=True)
while True:
    if os.fork() == 0:
        os.setsid()
        time.sleep(0.05)
    time.sleep(0.002)
"""


@needs_cgroups
@pytest.mark.parametrize("with_freezer", [True, False])
@pytest.mark.parametrize("code", [DAEMONS, FORKING], ids=["daemons", "forking"])
def test_kill_ends_all_that_a_run_has_started(
    groups: type[Group], adopt_orphans: None, code: str, with_freezer: bool
) -> None:
    group = groups(processes=300)
    if not with_freezer:
        group.cgroup._freeze = group.cgroup._thaw = lambda: None  # type: ignore[method-assign]
    program = group.start(code)
    assert program.stdout is not None
    while program.stdout.readline() != "done\n":
        pass
    until(lambda: len(group.cgroup.pids()) >= 4)
    known = [process for pid in group.cgroup.pids() if (process := process_tree.find(pid))]
    assert group.cgroup.kill()
    assert group.cgroup.pids() == [] and group.cgroup.is_empty()
    for process in known:
        assert not is_running(process)


def is_running(process: process_tree.Process) -> bool:
    now = process_tree.find(process.pid)
    if now is None or now.start != process.start:
        return False
    return "State:\tZ" not in Path(f"/proc/{process.pid}/status").read_text()


@needs_cgroups
def test_kill_reaches_a_stopped_process_and_spares_everybody_else(groups: type[Group]) -> None:
    group, other = groups(), groups()
    stopped = group.start("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    spared = other.start("print(1, flush=True); input()")
    assert spared.stdout is not None and spared.stdout.readline()
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
    assert group.cgroup.kill()
    assert stopped.wait() == -signal.SIGKILL
    assert other.cgroup.pids() == [spared.pid] and spared.poll() is None


@needs_cgroups
def test_kill_without_patience_says_whether_it_is_empty(groups: type[Group]) -> None:
    group = groups()
    assert group.cgroup.kill(patience_s=0)
    group.cgroup._kill_once = lambda: None  # type: ignore[method-assign]
    program = group.start("print(1, flush=True); input()")
    assert program.stdout is not None and program.stdout.readline()
    assert not group.cgroup.kill(patience_s=0)


@needs_cgroups
def test_remove_says_who_is_still_in_it(
    groups: type[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_REMOVE_PATIENCE_S", 0)
    group = groups()
    program = group.start("print(1, flush=True); input()")
    assert program.stdout is not None and program.stdout.readline()
    with pytest.raises(OSError, match=rf"{group.cgroup.name}: .*processes in it: {program.pid}"):
        group.cgroup.remove()


@needs_cgroups
def test_remove_takes_what_the_run_made_below_and_counts_are_0_afterwards(
    groups: type[Group],
) -> None:
    cgroup = groups(memory_bytes=64 * MIB, processes=8).cgroup
    for folder in cgroup._tops:
        os.makedirs(f"{folder}/below/deeper")
    cgroup.remove()
    cgroup.remove()
    assert not any(map(os.path.exists, cgroup._tops))
    assert (cgroup.memory_bytes(), cgroup.peak_memory_bytes(), cgroup.oom_kills()) == (0, 0, 0)
    assert cgroup.process_limit_hits() == 0 and cgroup.pids() == []
    assert cgroup.kill()


@needs_cgroups
def test_a_process_below_the_cgroup_is_killed_too(groups: type[Group]) -> None:
    group = groups()
    below = [f"{folder}/below" for folder in group.cgroup._tops]
    for folder in below:
        os.mkdir(folder)
    program = group.start(f"""
for folder in {below!r}:
    open(folder + "/cgroup.procs", "w").write("0")
print(1, flush=True)
input()
""")
    assert program.stdout is not None and program.stdout.readline()
    assert group.cgroup.pids() == [program.pid]
    assert group.cgroup.kill()
    assert program.wait() == -signal.SIGKILL


# ---------------------------------------------------------------- names


@needs_cgroups
def test_it_is_found_by_its_name_from_another_process_in_another_cgroup(
    groups: type[Group],
) -> None:
    """Recovery may run anywhere: it need not be in the cgroup in which the run's was made."""
    group, elsewhere = groups(), groups()
    victim = group.start("print(1, flush=True); input()")
    assert victim.stdout is not None and victim.stdout.readline()
    finder = elsewhere.start(f"""
import sys
sys.path.append({str(ROOT)!r})
from agent_runner.execution import cgroups
found = cgroups.Cgroup.attach({group.cgroup.name!r})
print({group.cgroup.name!r} in cgroups.leftovers(), found.pids(), found.kill(), flush=True)
""")
    assert finder.stdout is not None
    assert finder.stdout.readline() == f"True [{victim.pid}] True\n"
    assert victim.wait() == -signal.SIGKILL


@needs_cgroups
def test_leftovers_are_those_that_exist(groups: type[Group]) -> None:
    cgroup = groups().cgroup
    assert cgroup.name in cgroups.leftovers()
    cgroup.remove()
    assert cgroup.name not in cgroups.leftovers()
    assert Cgroup.attach(cgroup.name) is None


@needs_cgroups
def test_half_a_cgroup_is_found_and_removed(groups: type[Group]) -> None:
    """A crash between two hierarchies leaves such."""
    cgroup = groups().cgroup
    os.rmdir(cgroup._tops[0])
    found = Cgroup.attach(cgroup.name)
    assert found is not None or cgroup.version == "v2"
    if found is not None:
        assert found.kill()
        found.remove()
    assert cgroup.name not in cgroups.leftovers()


@needs_cgroups
def test_a_second_one_of_the_same_name_is_refused_and_the_first_stays(
    groups: type[Group],
) -> None:
    cgroup = groups(memory_bytes=64 * MIB, processes=8).cgroup
    with pytest.raises(FileExistsError, match=cgroup.name):
        Cgroup.create(cgroup.name, memory_bytes=None, processes=None)
    assert all(map(os.path.isdir, cgroup._tops))


def dead_pid() -> int:
    """Of a process that has ended and was waited for; pids are not given anew so soon."""
    program = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    program.wait()
    return program.pid


def in_it(group: Group) -> subprocess.Popen[str]:
    program = group.start("print(1, flush=True); input()")
    assert program.stdout is not None and program.stdout.readline()
    return program


@needs_cgroups
def test_orphans_are_ended_and_nothing_else(
    groups: type[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, dead, moment = cgroups._pid_namespace(), dead_pid(), time.time_ns()
    names = {
        "orphan": f"{PREFIX}{dead}-{here}-{moment}",
        "probe": f"{PREFIX}probe-{dead}-{here}-{moment}",
        "in another pid namespace": f"{PREFIX}{dead}-{here + 1}-{moment}",
        "ours": cgroups.name_for_job(),
        "of a living probe": f"{PREFIX}probe-{os.getpid()}-{here}-{moment}",
        "of another form": f"{PREFIX}{dead}-{moment}",
    }
    made = {what: groups(name=name) for what, name in names.items()}
    inside = {what: in_it(group) for what, group in made.items()}
    with monkeypatch.context() as patch:
        # Orphans of others are none of this test's business.
        patch.setattr(cgroups, "leftovers", lambda: sorted(names.values()))
        assert cgroups.remove_orphans() == sorted((names["orphan"], names["probe"]))
        assert cgroups.remove_orphans() == []
    for what, program in inside.items():
        if what in ("orphan", "probe"):
            assert program.wait() == -signal.SIGKILL
            assert Cgroup.attach(names[what]) is None
        else:
            assert program.poll() is None
            assert made[what].cgroup.pids() == [program.pid]


def test_a_jobs_name_tells_whose_it_is() -> None:
    name = cgroups.name_for_job()
    assert name.startswith(f"{PREFIX}{os.getpid()}-{os.stat('/proc/self/ns/pid').st_ino}-")
    assert cgroups.name_for_job() != name


@pytest.mark.parametrize("name", ["run-1", PREFIX, f"{PREFIX}../x", f"{PREFIX}a/b", f"{PREFIX}a\n"])
def test_a_name_that_could_be_anothers_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=PREFIX):
        Cgroup.create(name, memory_bytes=None, processes=None)


@needs_cgroups
def test_trying_out_leaves_nothing() -> None:
    assert cgroups.available() in ("v1", "v2")
    assert cgroups.why_unavailable() is None
    probes = f"{PREFIX}probe-{os.getpid()}-"
    assert not [name for name in cgroups.leftovers() if name.startswith(probes)]


# ---------------------------------------------------------------- version 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_version_2_really_kills_all_at_once(
    adopt_orphans: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`enter`, `kill`, `remove` in the real version 2 hierarchy, which here has no memory controller."""
    unified = cgroup_files.mounted("/proc/self").get("v2")
    if unified is None:
        pytest.skip("no cgroup version 2 is mounted")
    folder = f"{unified.own}/{a_name()}"
    try:
        os.mkdir(folder)
    except OSError as error:
        pytest.skip(f"cannot make {folder}: {error}")
    group = Group.__new__(Group)
    group.started = []
    group.cgroup = Cgroup(os.path.basename(folder), "v2", {"memory": folder, "pids": folder})
    try:
        assert group.cgroup.is_empty()
        for code in (DAEMONS, FORKING):
            program = group.start(code)
            assert program.stdout is not None
            while program.stdout.readline() != "done\n":
                pass
        assert not group.cgroup.is_empty() and len(group.cgroup.pids()) >= 9
        attached = Cgroup.attach(group.cgroup.name)
        assert attached is not None and attached.version == "v2" and attached.kill()
        assert group.cgroup.is_empty() and group.cgroup.pids() == []
    finally:
        group.clean_up()
