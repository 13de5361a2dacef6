"""Every attempt is a commit, whatever became of it; what should be there is verified."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agent_runner.errors import GitError
from agent_runner.paths import Home
from agent_runner.worktrees import Repository, attempt_ref, run_ref

DATE = "2026-01-02T03:04:05+00:00"


def open_home(root: Path, template: Path) -> Repository:
    home = Home(root)
    repository = Repository(home.repository, home.worktrees, home.repository_lock)
    repository.ensure()
    commit, _ = repository.snapshot(template, ["experiment.py"], "template")
    repository.add_worktree("idea", commit)
    return repository


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "experiment.py").write_text("rate = 1\n")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def repository(home: Home, template: Path) -> Repository:
    return open_home(home.root, template)


def git(repository: Repository, *arguments: str) -> str:
    command = ["git", "--git-dir", str(repository.git_dir), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def edit(home: Home, text: str) -> None:
    (home.worktrees / "idea" / "experiment.py").write_text(text)


def test_a_refused_attempt_is_a_commit_beside_the_branch(repository: Repository) -> None:
    head = repository.head("idea")
    commit = repository.record_attempt(
        "idea", 1, subject="attempt 1: refused\nsearch_not_found", body="No such line.", date=DATE
    )
    assert repository.head("idea") == head != commit
    assert git(repository, "rev-parse", attempt_ref("idea", 1)).strip() == commit
    assert repository.tree(commit) == repository.tree(head)
    form = "%P|%an <%ae>|%aI|%cI|%s|%b|%(trailers:key=Attempt,valueonly)"
    parent, who, written, committed, subject, body, trailer = git(
        repository, "log", "-1", f"--format={form}", commit
    ).split("|")
    assert (parent, who) == (head, "agent_runner <agent_runner@localhost>")
    assert written == committed == DATE
    assert subject == "attempt 1: refused search_not_found"
    assert body.startswith("No such line.\n\nAttempt: idea/1\n")
    assert trailer.strip() == "idea/1"
    assert repository.record_attempt("idea", 1, subject="otherwise") == commit


def test_done_again_it_is_the_same_commit(tmp_path: Path, template: Path) -> None:
    commits = []
    for name in ("a", "b"):
        repository = open_home(tmp_path / name, template)
        refused = repository.record_attempt("idea", 1, subject="refused", date=DATE, run_id="r-0")
        edit(Home(tmp_path / name), "rate = 2\n")
        made = repository.commit_attempt("idea", 2, ["experiment.py"], date=DATE, run_id="r-1")
        commits.append((refused, made))
    assert commits[0] == commits[1]
    assert "Run-Id: r-1" in git(repository, "log", "-1", "--format=%B", commits[0][1][0])


def test_git_log_shows_all_that_happened(repository: Repository, home: Home) -> None:
    base = repository.head("idea")
    repository.record_attempt("idea", 1, subject="attempt 1: refused", date=DATE)
    edit(home, "rate = 2\n")
    second, tree = repository.commit_attempt("idea", 2, ["experiment.py"], date=DATE)
    repository.set_run_ref("idea", 1, second)
    edit(home, "rate = 3\n")
    third, _ = repository.commit_attempt("idea", 3, ["experiment.py"], date=DATE)
    repository.undo_attempt("idea", 3)
    assert repository.record_attempt("idea", 3, subject="attempt 3: interrupted") == third
    shown = git(repository, "log", "--all", "--format=%s").splitlines()
    assert sorted(shown) == ["attempt 1: refused", "attempt 2", "attempt 3", "template"]
    assert "-rate = 1\n+rate = 2" in repository.diff(attempt_ref("idea", 1), run_ref("idea", 1))
    assert "-rate = 2\n+rate = 3" in repository.diff(run_ref("idea", 1), attempt_ref("idea", 3))
    assert repository.diff(base, attempt_ref("idea", 1)) == ""
    expected = {run_ref("idea", 1): (second, tree), attempt_ref("idea", 2): (second, tree)}
    assert repository.verify(expected) == []


def test_a_revision_is_never_taken_for_an_option(repository: Repository, home: Home) -> None:
    with pytest.raises(GitError):
        repository.diff(f"--output={home.root}/planted", "HEAD")
    assert not (home.root / "planted").exists()


def test_a_new_file_of_an_undone_attempt_goes_and_can_come_back(
    repository: Repository, home: Home
) -> None:
    plot = home.worktrees / "idea" / "plots" / "plot.py"
    plot.parent.mkdir()
    plot.write_text("new\n")
    commit, _ = repository.commit_attempt("idea", 1, ["experiment.py", "plots/plot.py"])
    assert repository.files(commit) == ["experiment.py", "plots/plot.py"]
    repository.undo_attempt("idea", 1)
    assert not plot.exists()
    assert repository.show(attempt_ref("idea", 1), "plots/plot.py") == "new\n"


def test_a_missing_commit_tree_content_or_ref_is_named(repository: Repository, home: Home) -> None:
    edit(home, "rate = 2\n")
    commit, tree = repository.commit_attempt("idea", 1, ["experiment.py"])
    base = repository.head("idea")
    repository.set_run_ref("idea", 1, commit)
    repository.set_run_ref("idea", 2, commit)
    gone = "1" * 40
    expected = {
        run_ref("idea", 1): (commit, tree),
        run_ref("idea", 2): (commit, gone),
        run_ref("idea", 3): (commit, tree),
        run_ref("idea", 4): (gone, tree),
    }
    faults = {(fault.ref, fault.kind) for fault in repository.verify(expected)}
    assert faults == {
        (run_ref("idea", 2), "other_tree"),
        (run_ref("idea", 3), "missing_ref"),
        (run_ref("idea", 4), "missing_commit"),
        (run_ref("idea", 4), "missing_ref"),
    }
    other = repository.record_attempt("idea", 9, date=DATE)
    repository.set_run_ref("idea", 1, other)
    [fault] = repository.verify({run_ref("idea", 1): (base, tree)})
    assert fault.kind == "other_ref" and other in fault.message
    blob = git(repository, "rev-parse", f"{commit}:experiment.py").strip()
    (repository.git_dir / "objects" / blob[:2] / blob[2:]).unlink()
    [fault] = repository.verify({run_ref("idea", 2): (commit, tree)})
    assert fault.kind == "missing_content" and blob in fault.message


# ------------------------------------------------------------ repair


def test_a_whole_worktree_needs_no_repair(repository: Repository) -> None:
    assert repository.repair("idea") == []


def test_a_deleted_worktree_is_made_again_at_its_head(repository: Repository, home: Home) -> None:
    edit(home, "rate = 2\n")
    commit, _ = repository.commit_attempt("idea", 1, ["experiment.py"])
    shutil.rmtree(home.worktrees / "idea")
    assert repository.changed_files("idea") == ["experiment.py"]
    assert "the files of its last commit were put there" in repository.repair("idea")
    assert (home.worktrees / "idea" / "experiment.py").read_text() == "rate = 2\n"
    assert repository.head("idea") == commit
    assert repository.repair("idea") == []


def test_what_took_the_place_of_a_worktree_is_kept(repository: Repository, home: Home) -> None:
    shutil.rmtree(home.worktrees / "idea")
    (home.worktrees / "idea").symlink_to(home.root)
    repository.repair("idea")
    assert not (home.worktrees / "idea").is_symlink()
    assert repository.changed_files("idea") == []
    [aside] = home.worktrees.glob("idea.before-*")
    assert aside.is_symlink()


def test_an_edit_that_was_not_committed_survives_a_repair(
    repository: Repository, home: Home
) -> None:
    worktree = home.worktrees / "idea"
    edit(home, "half done\n")
    (worktree / ".git").unlink()
    repository.repair("idea")
    assert (worktree / "experiment.py").read_text() == "half done\n"
    # As a `git worktree prune` by hand does, while the folder is out of reach.
    shutil.rmtree(home.repository / "worktrees" / "idea")
    repository.repair("idea")
    [aside] = worktree.glob("experiment.py.before-*")
    assert aside.read_text() == "half done\n"
    assert repository.changed_files("idea") == []
    status = subprocess.run(
        ["git", "-C", str(worktree), "status", "--porcelain"], capture_output=True, text=True
    )
    assert (status.returncode, status.stdout) == (0, f"?? {aside.name}\n")


@pytest.mark.parametrize("content", [b"", b"planted\n", b"f" * 40 + b"\n", None])
def test_a_lost_branch_is_made_again(
    repository: Repository, home: Home, content: bytes | None
) -> None:
    edit(home, "rate = 2\n")
    second, _ = repository.commit_attempt("idea", 2, ["experiment.py"])
    repository.record_attempt("idea", 10, subject="refused")
    ref = home.repository / "refs" / "heads" / "ideas" / "idea"
    ref.unlink() if content is None else ref.write_bytes(content)
    assert any("branch" in done for done in repository.repair("idea"))
    assert repository.head("idea") == second
    assert repository.repair("idea") == []


def test_without_any_record_a_lost_branch_is_an_error(repository: Repository, home: Home) -> None:
    base = repository.head("idea")
    (home.repository / "refs" / "heads" / "ideas" / "idea").write_bytes(b"")
    shutil.rmtree(home.worktrees / "idea")
    with pytest.raises(GitError, match="no branch of 'idea'"):
        repository.repair("idea")
    assert repository.repair("idea", base)
    assert repository.head("idea") == base and repository.changed_files("idea") == []


def test_a_branch_with_other_code_is_not_taken_over(repository: Repository, home: Home) -> None:
    base = repository.head("idea")
    edit(home, "rate = 2\n")
    repository.commit_attempt("idea", 1, ["experiment.py"])
    with pytest.raises(GitError, match="a branch of 'idea' already"):
        repository.add_worktree("idea", base)
    with pytest.raises(GitError, match="cannot be the name of a worktree"):
        repository.add_worktree("../outside", base)


def test_a_home_can_be_moved(repository: Repository, home: Home, tmp_path: Path) -> None:
    edit(home, "rate = 2\n")
    commit, _ = repository.commit_attempt("idea", 1, ["experiment.py"])
    home.root.rename(tmp_path / "moved")
    moved = Home(tmp_path / "moved")
    repository = Repository(moved.repository, moved.worktrees, moved.repository_lock)
    assert repository.repair("idea") == []
    assert repository.head("idea") == commit
    assert repository.changed_files("idea") == repository.untracked("idea") == []


def test_a_worktree_that_git_itself_has_made_is_taken_over(
    repository: Repository, home: Home
) -> None:
    """As homes of version 0.1 have them."""
    folder = str(home.worktrees / "older")
    git(repository, "worktree", "add", "-q", "-b", "ideas/older", folder, repository.head("idea"))
    assert repository.repair("older") == []
    (home.worktrees / "older" / "experiment.py").write_text("rate = 2\n")
    commit, _ = repository.commit_attempt("older", 1, ["experiment.py"])
    assert repository.untracked("older") == [] and repository.head("older") == commit
