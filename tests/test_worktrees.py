from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agent_runner.errors import GitError
from agent_runner.paths import Home
from agent_runner.worktrees import Repository

FILES = {
    "experiment.py": b"a\r\nb\n",
    "harness/data.py": b"x = 1\n",
    ".gitattributes": b"* text=auto\n",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def repository(home: Home) -> Repository:
    repository = Repository(home.repository, home.worktrees, home.repository_lock)
    repository.ensure()
    return repository


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def base(repository: Repository, template: Path) -> str:
    commit, _tree = repository.snapshot(template, sorted(FILES), "template")
    repository.add_worktree("idea", commit)
    return commit


def test_the_same_template_is_the_same_commit(repository: Repository, template: Path) -> None:
    first = repository.snapshot(template, sorted(FILES), "template")
    (template / "unlisted").write_text("not part of it")
    assert repository.snapshot(template, sorted(FILES), "template") == first


def test_bytes_survive_attributes_and_configuration(home: Home, base: str) -> None:
    worktree = home.worktrees / "idea"
    assert {name: (worktree / name).read_bytes() for name in FILES} == FILES


def test_an_edit_becomes_a_commit_and_no_edit_does_not(
    home: Home, repository: Repository, base: str
) -> None:
    assert repository.commit_attempt("idea", 1, ["experiment.py"])[0] == base
    (home.worktrees / "idea" / "experiment.py").write_bytes(b"a\r\nc\n")
    commit, tree = repository.commit_attempt("idea", 2, ["experiment.py"])
    assert commit == repository.head("idea") != base
    assert repository.tree(commit) == tree
    assert "-b\n+c" in repository.diff(base, commit)
    assert "1 insertion" in repository.diff_stat(base, commit)
    assert repository.show(base, "experiment.py") == "a\r\nb\n"
    assert repository.show(base, "missing.py") == ""


def test_only_editable_files_are_committed_and_strays_are_seen(
    home: Home, repository: Repository, base: str
) -> None:
    worktree = home.worktrees / "idea"
    (worktree / "harness" / "data.py").write_text("x = 2\n")
    (worktree / "planted.py").write_text("import os\n")
    assert repository.commit_attempt("idea", 1, ["experiment.py"])[0] == base
    (worktree / "run_1").mkdir()
    (worktree / "run_1" / "final_info.json").write_text("{}")
    (worktree / "__pycache__").mkdir()
    (worktree / "__pycache__" / "x.pyc").write_text("")
    assert repository.changed_files("idea") == ["harness/data.py"]
    assert repository.untracked("idea") == ["__pycache__/", "planted.py"]
    repository.restore("idea", base, ["harness/data.py"])
    assert repository.changed_files("idea") == []


def test_an_interrupted_attempt_is_taken_back_and_kept(
    home: Home, repository: Repository, base: str
) -> None:
    (home.worktrees / "idea" / "experiment.py").write_bytes(b"half done\n")
    commit, _ = repository.commit_attempt("idea", 7, ["experiment.py"])
    repository.undo_attempt("idea", 7)
    assert repository.head("idea") == base
    assert (home.worktrees / "idea" / "experiment.py").read_bytes() == FILES["experiment.py"]
    assert "half done" in repository.diff(base, commit)
    repository.undo_attempt("idea", 7)  # repeatable
    assert repository.head("idea") == base


def test_nothing_a_run_plants_is_executed(home: Home, repository: Repository, base: str) -> None:
    worktree, proof = home.worktrees / "idea", home.root / "proof"
    evil = home.root / "evil"
    subprocess.run(["git", "init", "-q", str(evil)], check=True)
    trap = home.root / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {proof}\n")
    trap.chmod(0o755)
    subprocess.run(["git", "-C", str(evil), "config", "core.fsmonitor", str(trap)], check=True)
    subprocess.run(["git", "-C", str(evil), "config", "filter.x.clean", str(trap)], check=True)
    (worktree / ".git").write_text(f"gitdir: {evil}/.git\n")
    (worktree / ".gitattributes").write_text("* filter=x\n")
    hooks = home.repository / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "pre-commit", "reference-transaction"):
        (hooks / name).write_text(trap.read_text())
        (hooks / name).chmod(0o755)
    (worktree / "experiment.py").write_text("edited\n")
    repository.commit_attempt("idea", 1, ["experiment.py"])
    repository.restore("idea", base, ["experiment.py"])
    repository.changed_files("idea")
    assert not proof.exists()
    assert repository.head("idea") != base


def test_git_variables_of_the_caller_do_not_leak_in(
    home: Home, repository: Repository, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(home.root / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(home.root / "elsewhere.index"))
    (home.worktrees / "idea" / "experiment.py").write_text("edited\n")
    repository.commit_attempt("idea", 1, ["experiment.py"])
    assert repository.head("idea") != base


def test_a_failing_git_says_what_failed(repository: Repository) -> None:
    with pytest.raises(GitError, match="git rev-parse failed"):
        repository.head("nobody")


def test_undecodable_bytes_in_a_diff_are_replaced(
    home: Home, repository: Repository, base: str
) -> None:
    (home.worktrees / "idea" / "experiment.py").write_bytes(b"a = '\xff'\n")
    commit, _ = repository.commit_attempt("idea", 1, ["experiment.py"])
    assert "�" in repository.diff(base, commit)
    assert os.fsencode("a") in repository.show(commit, "experiment.py").encode()
