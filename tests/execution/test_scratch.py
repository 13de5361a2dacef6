"""What a job has left is a stranger's: taken over with care, made ours, removed, whatever it is."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_runner.execution import job_files, scratch, trees
from agent_runner.execution.job_files import Confinement, Limits, Spec

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
STRANGER = 0x7000_0001
RECORDS = (job_files.EXCEPTION, job_files.EVENTS, job_files.STACKS)


@pytest.fixture(autouse=True)
def _clear_up(tmp_path: Path) -> Iterator[None]:
    """By another program: pytest's own way gives up on folders that are this deep."""
    yield
    subprocess.run(["rm", "-rf", "--", *map(str, tmp_path.iterdir())], check=True)


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """A sandboxed job whose folders are made, and that has ended."""
    work = tmp_path / "worktree"
    work.mkdir()
    (work / "experiment.py").write_text("pass")
    found = Spec(
        job_id="x",
        argv=("true",),
        cwd=str(work),
        env={},
        record_dir=str(tmp_path / "record"),
        limits=Limits(),
        out_dir=str(work / "run_1"),
        confinement=Confinement(level="L2"),
    )
    scratch.prepare(found, None)
    return found


def in_job(spec: Spec, name: str) -> Path:
    return Path(scratch.job_folder(spec), name)


def in_work(spec: Spec, name: str) -> Path:
    return Path(scratch.box(spec, "work"), name)


def record(spec: Spec, name: str) -> Path:
    return Path(spec.record_dir, name)


def deep(folder: Path, depth: int, name: str = "d") -> None:
    """A folder in a folder, that often; a path to the last would be too long."""
    folder.mkdir(exist_ok=True)
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


# ---------------------------------------------------------------- records


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_taken_over(spec: Spec, name: str) -> None:
    in_job(spec, name).write_text("{}")
    assert scratch.collect(spec) == []
    assert record(spec, name).read_text() == "{}"
    assert stat.S_IMODE(record(spec, name).stat().st_mode) == 0o600
    assert not os.path.lexists(scratch.job_folder(spec))


def link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def hard_link(path: Path, secret: Path) -> None:
    path.hardlink_to(secret)


def fifo(path: Path, secret: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, secret: Path) -> None:
    path.mkdir()
    (path / "file").write_text("x")


def dangling(path: Path, secret: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [link, hard_link, fifo, folder, dangling])
@pytest.mark.parametrize("name", RECORDS)
def test_what_is_no_file_of_its_own_is_refused(
    spec: Spec, tmp_path: Path, name: str, make: Callable[[Path, Path], None]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    make(in_job(spec, name), secret)
    (note,) = scratch.collect(spec)
    assert note.startswith(f"{name} was not taken over: ")
    assert not os.path.lexists(record(spec, name))
    assert os.path.lexists(in_job(spec, name)), "it is evidence"
    assert secret.read_text() == "secret" and scratch.collect(spec) == [note]


def test_huge_records_are_cut_and_kept(spec: Spec) -> None:
    in_job(spec, job_files.EXCEPTION).write_bytes(b"x" * (5 << 20))
    with open(in_job(spec, job_files.EVENTS), "wb") as file:
        file.truncate(1 << 40)
    assert scratch.collect(spec) == []
    assert record(spec, job_files.EXCEPTION).stat().st_size == 1 << 20
    assert record(spec, job_files.EVENTS).stat().st_size == 4 << 20
    assert in_job(spec, job_files.EVENTS).stat().st_size == 1 << 40


def test_an_unreadable_record(spec: Spec) -> None:
    in_job(spec, job_files.STACKS).write_text("stacks")
    in_job(spec, job_files.STACKS).chmod(0)
    notes = scratch.collect(spec)
    if os.geteuid() == 0:
        assert notes == [] and record(spec, job_files.STACKS).read_text() == "stacks"
    else:
        assert "Permission denied" in notes[0]


def test_a_record_that_was_taken_over_is_not_lost_by_a_second_look(spec: Spec) -> None:
    in_job(spec, job_files.EXCEPTION).write_text("first")
    in_work(spec, "run_1").mkdir()
    in_work(spec, "stray").write_text("x")
    scratch.collect(spec)
    before = sorted(Path(spec.record_dir).parent.rglob("*"))
    for _ in range(2):
        assert scratch.collect(spec) == []
        assert sorted(Path(spec.record_dir).parent.rglob("*")) == before
    assert record(spec, job_files.EXCEPTION).read_text() == "first"


def test_the_record_folder_itself_is_gone(spec: Spec) -> None:
    trees.remove(spec.record_dir)
    assert scratch.collect(spec) == []


def test_the_worktree_is_gone(spec: Spec) -> None:
    in_work(spec, "run_1").mkdir()
    trees.remove(spec.cwd)
    (note,) = scratch.collect(spec)
    assert scratch.box(spec) in note
    assert in_work(spec, "run_1").is_dir()


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("make", [link, fifo, folder, dangling])
def test_results_come_as_they_are(
    spec: Spec, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    make(in_work(spec, "run_1"), secret)
    kind = stat.S_IFMT(in_work(spec, "run_1").lstat().st_mode)
    assert scratch.collect(spec) == []
    assert stat.S_IFMT(Path(spec.cwd, "run_1").lstat().st_mode) == kind
    assert secret.read_text() == "secret" and not os.path.lexists(scratch.box(spec))


def test_odd_names_in_results(spec: Spec) -> None:
    out = in_work(spec, "run_1")
    out.mkdir()
    names = ["blank s", "line\nbreak", "-rf", os.fsdecode(b"\xff"), "x" * 255]
    for name in names:
        (out / name).touch()
    (out / "link").symlink_to("/etc")
    assert scratch.collect(spec) == []
    assert sorted(os.listdir(spec.out_dir)) == sorted([*names, "link"])


def test_results_that_their_owner_may_not_read(spec: Spec) -> None:
    out = in_work(spec, "run_1")
    out.mkdir()
    (out / "final_info.json").write_text("{}")
    (out / "final_info.json").chmod(0)
    (out / "inner").mkdir()
    (out / "inner" / "x").write_text("x")
    (out / "inner").chmod(0)
    out.chmod(0)
    assert scratch.collect(spec) == []
    mode = Path(spec.cwd, "run_1", "final_info.json").stat().st_mode
    assert mode & stat.S_IRUSR and Path(spec.cwd, "run_1", "inner", "x").read_text() == "x"


def test_an_output_folder_that_was_there_before_stays(spec: Spec) -> None:
    Path(spec.cwd, "run_1").mkdir()
    Path(spec.cwd, "run_1", "old").write_text("old")
    in_work(spec, "run_1").mkdir()  # what it was mounted on
    assert scratch.collect(spec) == []
    assert os.listdir(Path(spec.cwd, "run_1")) == ["old"] and not os.path.lexists(scratch.box(spec))


def test_results_of_any_depth(spec: Spec) -> None:
    deep(in_work(spec, "run_1"), 2000, "a long name " * 10)
    assert scratch.collect(spec) == []
    assert Path(spec.cwd, "run_1").is_dir()
    trees.remove(str(Path(spec.cwd, "run_1")))
    assert not Path(spec.cwd, "run_1").exists()


# ---------------------------------------------------------------- what is left


def test_leftovers_in_the_working_directory_are_kept_and_mount_points_removed(spec: Spec) -> None:
    Path(spec.cwd, "data").mkdir()
    Path(spec.cwd, "empty").mkdir()
    Path(spec.cwd, "replaced").symlink_to("data")
    Path(spec.cwd, "link").symlink_to("data")
    for name in ("data", "empty"):
        in_work(spec, name).mkdir()
    in_work(spec, "experiment.py").touch()
    in_work(spec, "link").symlink_to("data")
    in_work(spec, "replaced").write_text("the job's own")
    in_work(spec, "data").joinpath("stray").write_text("x")
    in_work(spec, "checkpoint").write_text("x")
    assert scratch.collect(spec) == []
    assert sorted(os.listdir(scratch.box(spec, "work"))) == ["checkpoint", "data", "replaced"]
    assert sorted(os.listdir(scratch.box(spec))) == ["work"]


def test_home_and_temporary_files_go_whatever_they_are(spec: Spec, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    for name in ("home", "tmp"):
        base = Path(scratch.box(spec, name))
        deep(base / "deep", 2000)
        deep(base / "long", 40, "n" * 255)
        (base / "link").symlink_to(outside)
        (base / "closed").mkdir()
        (base / "closed" / "file").write_text("x")
        (base / "closed").chmod(0)
        os.mkfifo(base / "fifo")
    assert scratch.collect(spec) == []
    assert not os.path.lexists(scratch.box(spec))
    assert (outside / "precious").read_text() == "x"


def test_without_a_sandbox_only_home_goes(spec: Spec) -> None:
    plain = spec._replace(confinement=Confinement(level="L0"))
    Path(spec.cwd, "run_1").mkdir()
    in_job(spec, job_files.EXCEPTION).write_text("{}")
    assert scratch.collect(plain) == []
    assert Path(spec.cwd, "run_1").is_dir() and record(spec, job_files.EXCEPTION).exists()
    assert not os.path.lexists(scratch.job_folder(spec))


@pytest.mark.parametrize("target", ["elsewhere", "agent_runner-mine"])
def test_temporary_folders(tmp_path: Path, target: str) -> None:
    """A link that does not lead to a folder of ours is not followed."""
    kept = tmp_path / target
    (kept / "inner").mkdir(parents=True)
    (tmp_path / "tmp").symlink_to(kept)
    found = scratch.temporary_folder(str(tmp_path))
    scratch.remove_temporary_folder(str(tmp_path), found)
    is_ours = target.startswith("agent_runner-")
    assert (found == str(kept)) == is_ours and kept.exists() != is_ours
    assert os.path.lexists(tmp_path / "tmp") != is_ours


# ---------------------------------------------------------------- trees


@AS_ROOT
def test_ownership_comes_back_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    os.chown(outside, STRANGER, STRANGER)
    tree = tmp_path / "tree"
    tree.mkdir()
    deep(tree / "deep", 1500, "n" * 20)
    (tree / "link").symlink_to(outside)
    (tree / "program").write_text("#!/bin/sh")
    for path in (tree, tree / "deep", tree / "program"):
        os.chown(path, STRANGER, STRANGER)
    (tree / "program").chmod(0o6711)
    trees.own(str(tree))
    assert {p.lstat().st_uid for p in (tree, *tree.iterdir())} == {0}
    assert stat.S_IMODE((tree / "program").stat().st_mode) == 0o711, "no set-uid program of root's"
    assert outside.stat().st_uid == STRANGER
    for path in (tmp_path / "single", tmp_path / "to outside"):
        path.symlink_to(outside) if " " in path.name else path.touch()
        trees.own(str(path))
    assert outside.stat().st_uid == STRANGER
    trees.remove(str(tree))


@AS_ROOT
def test_folders_that_a_job_may_write_to(tmp_path: Path, spec: Spec) -> None:
    granted = tmp_path / "granted"
    (granted / "inner").mkdir(parents=True)
    (granted / "fixed").mkdir(mode=0o555)
    (granted / "link").symlink_to(spec.cwd)
    (granted / "link to file").symlink_to(Path(spec.cwd, "experiment.py"))
    for name, bits in (("model", 0o644), ("private", 0o600), ("program", 0o755), ("kept", 0o444)):
        (granted / name).touch(mode=bits)
        (granted / name).chmod(bits)
    os.link(Path(spec.cwd, "experiment.py"), granted / "second name")
    file_mode = Path(spec.cwd, "experiment.py").stat().st_mode
    mode = Path(spec.cwd).stat().st_mode
    given_ = spec._replace(confinement=Confinement(level="L2", write=(str(granted),)))
    scratch.prepare(given_, STRANGER)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (granted, *granted.iterdir())}
    assert (modes["granted"], modes["inner"], modes["fixed"]) == (0o777, 0o777, 0o555)
    files = ("model", "private", "program", "kept")
    assert [modes[name] for name in files] == [0o666, 0o666, 0o777, 0o444]
    assert Path(spec.cwd).stat().st_mode == mode
    assert Path(spec.cwd, "experiment.py").stat().st_mode == file_mode
    (granted / "result").write_text("x")
    os.chown(granted / "result", STRANGER, STRANGER)
    assert scratch.collect(given_) == [] and (granted / "result").stat().st_uid == 0
    real = [p for p in (granted, *granted.iterdir()) if not p.is_symlink()]
    assert [p.name for p in real if p.stat().st_mode & 0o022] == [], (
        "others may write to it for good"
    )


@AS_ROOT
def test_a_second_job_may_write_to_what_the_first_has_left(tmp_path: Path, spec: Spec) -> None:
    granted = tmp_path / "granted"
    given_ = spec._replace(confinement=Confinement(level="L2", write=(str(granted),)))
    write = (
        "import os, sys; os.setresuid(*[int(sys.argv[1])] * 3); open(sys.argv[2], 'a').write('x')"
    )
    for user in (STRANGER, STRANGER + 1):
        scratch.prepare(given_, user)
        command = [sys.executable, "-I", "-S", "-c", write, str(user), "model"]
        # From inside: the folders above are closed to strangers.
        subprocess.run(command, check=True, cwd=granted)
        assert scratch.collect(given_) == []
    assert (granted / "model").read_text() == "xx"
    assert stat.S_IMODE((granted / "model").stat().st_mode) == 0o644


def test_the_view_and_the_records_fit_together(spec: Spec) -> None:
    """Links that were made for a view are gone when it is over."""
    Path(spec.cwd, "link").symlink_to("experiment.py")
    Path(spec.cwd, os.fsdecode(b"odd-\xff")).symlink_to(os.fsdecode(b"\xfe"))
    found = scratch.view(spec)
    scratch.make_links(spec, found.links)
    scratch.make_links(spec, found.links)
    assert os.readlink(in_work(spec, "link")) == "experiment.py"
    assert json.dumps(found.mounted) == '["experiment.py"]'
    assert scratch.collect(spec) == [] and not os.path.lexists(scratch.box(spec))
