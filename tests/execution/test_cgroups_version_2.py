"""Version 2 on a stand-in for its file system: where it is asked for what, not what a kernel then does.

`test_cgroups` tests that on a real one, which on many machines is of version 1.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent_runner.execution import cgroup_files, cgroups
from agent_runner.execution.cgroups import PREFIX, Cgroup

MIB = 2**20


class FakeVersion2:
    """A folder that answers like version 2 where this module asks: mkdir makes the files of a cgroup, a cgroup
    with processes cannot have controllers on for its children, `cgroup.kill` empties.
    """

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = tmp_path / "mounted here"
        self.process = tmp_path / "process"
        self.process.mkdir()
        self.root.mkdir()
        self._fill(self.root, is_root=True)
        monkeypatch.setattr(cgroups, "_PROCESS", str(self.process))
        monkeypatch.setattr(cgroup_files, "make_folder", self.make)
        monkeypatch.setattr(cgroup_files, "write", self.write)
        monkeypatch.setattr(cgroup_files, "remove_tree", self.remove)

    def we_are_in(self, path: str, mount_root: str = "/") -> None:
        mount = str(self.root).replace(" ", "\\040")
        (self.process / "cgroup").write_text(f"1:name=systemd:/\n0::{path}\n")
        (self.process / "mountinfo").write_text(
            "20 1 0:19 / /proc rw,nosuid shared:5 - proc proc rw\n"
            f"29 23 0:26 {mount_root} {mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
        )

    def make(self, path: str) -> None:
        try:
            os.mkdir(path)
        except OSError as error:
            raise OSError(error.errno, f"cannot make {path}: {error.strerror}") from error
        self._fill(Path(path))

    def _fill(self, folder: Path, is_root: bool = False) -> None:
        on = (
            "cpu memory pids" if is_root else (folder.parent / "cgroup.subtree_control").read_text()
        )
        files = {"cgroup.controllers": on, "cgroup.subtree_control": "", "cgroup.procs": ""}
        if not is_root:
            files |= {"cgroup.events": "populated 0\nfrozen 0\n", "cgroup.kill": ""}
        if not is_root and "memory" in on:
            files |= {"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0"}
            files |= {"memory.current": "4096\n", "memory.peak": "8192\n"}
            files["memory.events"] = "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\noom_group_kill 0\n"
        if not is_root and "pids" in on:
            files |= {"pids.max": "max", "pids.current": "0", "pids.events": "max 0\n"}
        for name, text in files.items():
            (folder / name).write_text(text)

    def write(self, path: str, value: str) -> None:
        folder, name = os.path.split(path)
        if name == "cgroup.subtree_control":
            if folder != str(self.root) and (Path(folder) / "cgroup.procs").read_text():
                raise OSError(errno.EBUSY, f"cannot write {value} to {path}: busy")
            value = value.replace("+", "")
        if name == "cgroup.kill":
            (Path(folder) / "cgroup.procs").write_text("")
            (Path(folder) / "cgroup.events").write_text("populated 0\nfrozen 0\n")
        if not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, f"cannot write {value} to {path}")
        Path(path).write_text(value)

    def remove(self, top: str) -> None:
        for folder, _, files in os.walk(top, topdown=False):
            for name in files:
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)

    def folder(self, path: str, procs: str = "", on: str = "") -> Path:
        """A cgroup that is there already, with those processes, and controllers on for its children."""
        made = self.root / path
        self.make(str(made))
        (made / "cgroup.procs").write_text(procs)
        (made / "cgroup.subtree_control").write_text(on)
        return made


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeVersion2:
    return FakeVersion2(tmp_path, monkeypatch)


def word(path: Path) -> str:
    return path.read_text().strip()


def test_version_2_at_the_root_switches_the_controllers_on(fake: FakeVersion2) -> None:
    (fake.root / "cgroup.procs").write_text("1\n2\n")
    fake.we_are_in("/")
    cgroup = Cgroup.create(f"{PREFIX}1", memory_bytes=64 * MIB, processes=8)
    made = fake.root / f"{PREFIX}1"
    assert cgroup.version == "v2"
    assert word(fake.root / "cgroup.subtree_control") == "memory pids"
    assert word(made / "memory.max") == str(64 * MIB) and word(made / "pids.max") == "8"
    assert word(made / "memory.swap.max") == "0" and word(made / "memory.oom.group") == "1"


def test_version_2_in_a_cgroup_with_processes_makes_a_sibling(fake: FakeVersion2) -> None:
    """As in a user's scope: `app.slice` is delegated and has the controllers on, the scope holds processes."""
    (fake.root / "cgroup.subtree_control").write_text("memory pids")
    fake.folder("app.slice", on="memory pids")
    scope = fake.folder("app.slice/run-1.scope", procs="77\n")
    fake.we_are_in("/app.slice/run-1.scope")
    Cgroup.create(f"{PREFIX}1", memory_bytes=None, processes=None)
    assert (fake.root / "app.slice" / f"{PREFIX}1").is_dir()
    assert not (scope / f"{PREFIX}1").exists()
    assert word(fake.root / "app.slice" / f"{PREFIX}1" / "memory.max") == "max"


def test_version_2_switches_on_only_in_our_cgroup_and_the_one_above(fake: FakeVersion2) -> None:
    (fake.root / "cgroup.subtree_control").write_text("memory pids")
    for path in ("a", "a/b", "a/b/c"):
        fake.folder(path, on="memory pids", procs="9\n" if path == "a/b/c" else "")
    fake.we_are_in("/a/b/c")
    (fake.root / "a/b/cgroup.subtree_control").write_text("")
    (fake.root / "a/b/c/cgroup.subtree_control").write_text("")
    (fake.root / "a/b/c/cgroup.procs").write_text("9\n")
    Cgroup.create(f"{PREFIX}1", memory_bytes=None, processes=1)
    assert word(fake.root / "a/b/cgroup.subtree_control") == "memory pids"
    assert (fake.root / "a/b" / f"{PREFIX}1").is_dir()


def test_version_2_with_no_place_says_why(fake: FakeVersion2) -> None:
    """As in a container whose processes are in the topmost cgroup that it can see."""
    fake.folder("container", procs="1\n")
    fake.we_are_in("/container", mount_root="/container")
    top = fake.root
    (top / "cgroup.procs").write_text("1\n")
    (top / "cgroup.controllers").write_text("cpu")
    assert cgroups.available() is None
    why = cgroups.why_unavailable()
    assert why is not None and "memory and pids" in why and "systemd-run" in why
    with pytest.raises(OSError, match="no cgroup can be made"):
        Cgroup.create(f"{PREFIX}1", memory_bytes=None, processes=None)
    assert cgroups.leftovers() == []


def test_version_2_that_may_not_be_written_is_tried_no_further(
    fake: FakeVersion2, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.we_are_in("/")

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, f"cannot make {path}: Permission denied")

    monkeypatch.setattr(cgroup_files, "make_folder", refuse)
    why = cgroups.why_unavailable()
    assert why is not None and f"cannot make {fake.root}" in why


def test_version_2_is_not_used_where_a_process_could_not_be_moved(
    fake: FakeVersion2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders may be ours, and `cgroup.procs` of the one above both places not: kernels refuse the move."""
    fake.we_are_in("/")
    assert cgroups.available() == "v2"
    monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("cgroup.procs"))
    assert cgroups.available() is None


def test_version_2_counts_are_read_by_their_names(fake: FakeVersion2) -> None:
    fake.we_are_in("/")
    cgroup = Cgroup.create(f"{PREFIX}1", memory_bytes=MIB, processes=8)
    made = fake.root / f"{PREFIX}1"
    assert (cgroup.memory_bytes(), cgroup.peak_memory_bytes()) == (4096, 8192)
    (made / "memory.peak").unlink()  # Linux 5.15
    assert cgroup.peak_memory_bytes() == 4096
    assert cgroup.oom_kills() == 0 and not cgroup.ran_out_of_memory()
    (made / "memory.events").write_text("low 0\nmax 9\noom 0\noom_kill 2\n")  # the machine's
    assert cgroup.oom_kills() == 2 and not cgroup.ran_out_of_memory()
    (made / "memory.events").write_text("low 0\nmax 9\noom 1\noom_kill 2\n")
    assert cgroup.ran_out_of_memory()
    (made / "pids.events").write_text("max 7\n")
    assert cgroup.process_limit_hits() == 7


def test_version_2_is_entered_killed_and_removed_by_its_files(fake: FakeVersion2) -> None:
    fake.we_are_in("/")
    cgroup = Cgroup.create(f"{PREFIX}1", memory_bytes=None, processes=None)
    made = fake.root / f"{PREFIX}1"
    cgroup.enter()
    assert word(made / "cgroup.procs") == "0"
    (made / "cgroup.procs").write_text(
        "0\n4194300\n"
    )  # 0: of a pid namespace that we cannot see into
    (made / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    attached = Cgroup.attach(f"{PREFIX}1")
    assert attached is not None and attached.version == "v2"
    assert attached.pids() == [4194300] and not attached.is_empty()
    assert attached.kill()
    assert word(made / "cgroup.kill") == "1"
    attached.remove()
    assert cgroups.leftovers() == []


def test_a_mount_is_seen_from_its_own_root(fake: FakeVersion2) -> None:
    """Without a cgroup namespace, a container's mount begins at its own cgroup."""
    fake.we_are_in("/docker/abc", mount_root="/docker/abc")
    assert cgroup_files.mounted(str(fake.process))["v2"].own == str(fake.root)
    fake.folder("inner")
    fake.we_are_in("/docker/abc/inner", mount_root="/docker/abc")
    assert cgroup_files.mounted(str(fake.process))["v2"].own == str(fake.root / "inner")
    for elsewhere in ("/docker/abcd", "/", "/docker", "/docker/abc/gone"):
        fake.we_are_in(elsewhere, mount_root="/docker/abc")
        assert cgroup_files.mounted(str(fake.process)) == {}
