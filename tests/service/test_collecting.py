"""`gc` frees what nobody needs, says so in bytes, and touches nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_runner.execution import job_files
from agent_runner.paths import file_lock, write_json
from agent_runner.records import Idea
from agent_runner.service import Runner
from agent_runner.service.collecting import Collected, collect
from agent_runner.service.workspace import Workspace
from agent_runner.settings import Settings
from agent_runner.surfaces.cli.main import app

CONTENT = b"x" * 20_000


@pytest.fixture
def workspace(home: Path, runner: Runner) -> Workspace:
    return Workspace.open(Settings(home=home))


@pytest.fixture
def record(workspace: Workspace, idea: Idea) -> Path:
    """The record folder of a run that has ended, without its run."""
    folder = workspace.paths(idea).run(1).folder
    folder.mkdir(parents=True)
    for name in (job_files.SPEC, job_files.EXIT, "stdout.log", "result.json"):
        (folder / name).write_text("{}")
    os.close(job_files.take_lock(str(folder / job_files.LOCK)))
    return folder


@pytest.fixture
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=job_files.SCRATCH_PREFIX))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "content").write_bytes(CONTENT)
    return folder


def everything(root: Path) -> set[str]:
    """All paths below a folder, apart from what any opening of a home or its locks makes."""
    found = {str(path.relative_to(root)) for path in root.rglob("*")}
    return {name for name in found if not name.endswith("lock") and "ledger" not in name}


def freed(collected: Collected) -> set[str]:
    return {item.path for item in collected.items if item.freed}


def kept(collected: Collected) -> dict[str, str]:
    return {item.path: item.reason for item in collected.items if not item.freed}


def refs(home: Path) -> str:
    command = ["git", "--git-dir", str(home / "repo.git"), "for-each-ref"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_home_in_order_gives_nothing(workspace: Workspace, home: Path, idea: Idea) -> None:
    before = everything(home)
    collected = collect(workspace)
    assert (freed(collected), collected.freed_bytes) == (set(), 0)
    assert everything(home) == before


def test_leftovers_of_a_dead_job_go_and_evidence_stays(
    workspace: Workspace, home: Path, record: Path, scratch: Path
) -> None:
    box = record / job_files.BOX
    gone = {str(fill(box / "tmp")), str(fill(box / "home")), str(fill(scratch))}
    fill(box / "work")
    (record / job_files.SCRATCH_LINK).symlink_to(scratch)
    for name in (".result.json.ab12cd_x", "exit.json.4711.aside"):
        (record / name).write_bytes(CONTENT)
        gone.add(str(record / name))
    gone.add(str(record / job_files.SCRATCH_LINK))
    evidence = {"notes.ab12cd_x", ".result.json", ".secret.json.ab12cd_x", "x.4711.aside"}
    for name in evidence:
        (record / name).write_bytes(CONTENT)
    before = everything(home)

    planned = collect(workspace, dry_run=True)
    assert everything(home) == before and scratch.exists()
    done = collect(workspace)
    assert freed(planned) == freed(done) == gone
    assert planned.freed_bytes == done.freed_bytes >= 5 * len(CONTENT)
    lost = before - everything(home)
    assert {str(home / name) for name in lost} | {str(scratch)} == gone | {
        str(box / "tmp" / "content"),
        str(box / "home" / "content"),
    }
    assert not scratch.exists() and (box / "work" / "content").read_bytes() == CONTENT
    assert freed(collect(workspace)) == set()


def test_links_that_a_job_has_planted_are_not_followed(
    workspace: Workspace, record: Path, tmp_path: Path
) -> None:
    precious = fill(tmp_path / "precious" / "tmp").parent
    (record / job_files.SCRATCH_LINK).symlink_to(precious)
    (record / job_files.BOX).symlink_to(precious)
    inner = fill(tmp_path / "outside")
    (record.parent / "2").symlink_to(inner)
    (inner / job_files.SPEC).write_text("{}")
    fill(inner / job_files.BOX / "home")
    collected = collect(workspace)
    assert freed(collected) == set()
    assert (precious / "tmp" / "content").exists()
    assert (inner / job_files.BOX / "home" / "content").exists()
    assert "no scratch folder" in kept(collected)[str(record / job_files.SCRATCH_LINK)]


def test_a_link_inside_a_scratch_folder_is_removed_and_not_followed(
    workspace: Workspace, record: Path, tmp_path: Path
) -> None:
    precious = fill(tmp_path / "precious")
    fill(record / job_files.BOX / "tmp").joinpath("link").symlink_to(precious)
    collect(workspace)
    assert not (record / job_files.BOX / "tmp").exists()
    assert (precious / "content").exists()


def test_what_is_in_use_is_left_alone(workspace: Workspace, record: Path, idea: Idea) -> None:
    fill(record / job_files.BOX / "tmp")
    lock = job_files.take_lock(str(record / job_files.LOCK))
    try:
        collected = collect(workspace)
        assert freed(collected) == set() and kept(collected)[str(record)] == "it goes on"
    finally:
        os.close(lock)
    with file_lock(workspace.paths(idea).lock):
        collected = collect(workspace)
        assert freed(collected) == set()
        assert kept(collected)[str(workspace.paths(idea).folder)] == "a server works on it"
    assert freed(collect(workspace)) == {str(record / job_files.BOX / "tmp")}


# ------------------------------------------------------------ git


def test_the_worktree_of_a_baseline_that_no_idea_has_goes(
    workspace: Workspace, runner: Runner, home: Path, idea: Idea, tmp_path: Path
) -> None:
    runner.baseline(idea.id)
    [worktree] = (home / "worktrees").glob("baseline-*")
    assert str(worktree) not in freed(collect(workspace))
    (worktree / "data.py").write_text("changed\n")
    (worktree / "added").write_text("added\n")
    # With another interpreter every baseline is another one.
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    elsewhere = Workspace.open(Settings(home=home, python=other))
    before, known = everything(home / "baselines"), refs(home)

    with file_lock(home / "baselines" / f"{worktree.name.removeprefix('baseline-')}.lock"):
        assert str(worktree) not in freed(collect(elsewhere))
    assert str(worktree) in freed(collect(elsewhere, dry_run=True)) and worktree.exists()
    assert str(worktree) in freed(collect(elsewhere))
    assert not worktree.exists() and refs(home) == known
    new = everything(home / "baselines") - before
    assert before <= everything(home / "baselines")
    assert {name.split("/", 3)[3] for name in new if name.count("/") >= 3} >= {
        "data.py",
        "added",
        "run_0/final_info.json",
    }
    assert freed(collect(elsewhere)) == set()
    workspace.repository.add_worktree(worktree.name, idea.base_commit)
    assert (worktree / "experiment.py").exists()


def test_an_idea_that_is_created_meanwhile_keeps_its_worktree(
    workspace: Workspace,
    runner: Runner,
    home: Path,
    idea: Idea,
    template: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one whose id looks like the name of a baseline's worktree."""
    list_worktrees = workspace.repository.worktrees
    created: list[Idea] = []

    def create_and_list() -> list[str]:
        created.append(runner.create_idea("baseline of ours", template=template))
        return list_worktrees()

    monkeypatch.setattr(workspace.repository, "worktrees", create_and_list)
    assert freed(collect(workspace)) == set()
    assert created[0].id.startswith("baseline-")
    assert (home / "worktrees" / created[0].id / "experiment.py").exists()


def test_an_idea_that_cannot_be_read_keeps_every_baseline(
    workspace: Workspace, runner: Runner, home: Path, idea: Idea
) -> None:
    runner.baseline(idea.id)
    [worktree] = (home / "worktrees").glob("baseline-*")
    workspace.paths(idea).record.write_text("{}")
    assert "cannot be read" in kept(collect(workspace))[str(worktree)]


def test_objects_that_nothing_refers_to_go_after_a_time(
    workspace: Workspace, home: Path, idea: Idea
) -> None:
    (workspace.paths(idea).worktree / "experiment.py").write_text("rate = 2\n")
    commit, _ = workspace.repository.commit_attempt(idea.id, 1, ["experiment.py"])
    workspace.repository.undo_attempt(idea.id, 1)
    refused = workspace.repository.record_attempt(idea.id, 2, subject="refused")
    git = ["git", "--git-dir", str(home / "repo.git")]
    blob = subprocess.run(
        [*git, "hash-object", "-w", "--stdin"], input=CONTENT, capture_output=True, check=True
    )
    lost = home / "repo.git" / "objects" / blob.stdout.decode()[:2] / blob.stdout.decode()[2:40]
    known = refs(home)
    assert freed(collect(workspace)) == set() and lost.exists()
    planned = collect(workspace, dry_run=True, grace_s=0)
    assert lost.exists()
    done = collect(workspace, grace_s=0)
    assert planned.freed_bytes == done.freed_bytes > 0 and not lost.exists()
    assert refs(home) == known and commit in known and refused in known
    assert subprocess.run([*git, "fsck", "--strict"], capture_output=True).returncode == 0
    assert "rate = 2" in workspace.repository.diff(idea.base_commit, commit)
    assert freed(collect(workspace, grace_s=0)) == set()


def test_an_entry_without_a_folder_goes_and_a_foreign_folder_stays(
    workspace: Workspace, home: Path, idea: Idea
) -> None:
    for name in ("gone", "foreign"):
        workspace.repository.add_worktree(name, idea.base_commit)
    shutil.rmtree(home / "worktrees" / "gone")
    collected = collect(workspace)
    assert freed(collected) == {str(home / "repo.git" / "worktrees" / "gone")}
    assert kept(collected)[str(home / "worktrees" / "foreign")] == "it belongs to no idea here"
    shutil.rmtree(workspace.paths(idea).worktree)  # an idea's own is made again, never forgotten
    assert freed(collect(workspace)) == set()
    assert workspace.repository.repair(idea.id)


# ------------------------------------------------------------ the command


def test_the_command_says_what_it_did(workspace: Workspace, record: Path, home: Path) -> None:
    fill(record / job_files.BOX / "tmp")
    write_json(home / "cache" / "shared.json", {})
    command = ["gc", "--home", str(home)]
    planned = CliRunner().invoke(app, [*command, "--dry-run", "--json"])
    done = CliRunner().invoke(app, [*command, "--json"])
    assert planned.exit_code == done.exit_code == 0
    report = json.loads(done.stdout)
    assert report["freed_bytes"] == json.loads(planned.stdout)["freed_bytes"] >= len(CONTENT)
    assert json.loads(planned.stdout)["dry_run"] is True
    by_path = {item["path"]: item for item in report["items"]}
    assert by_path[str(record / job_files.BOX / "tmp")]["freed"]
    assert not by_path[str(home / "cache")]["freed"] and by_path[str(home / "cache")]["bytes"] > 0
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0 and "kept" in again.stdout and "0 bytes freed" in again.stderr
