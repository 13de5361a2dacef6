"""Whatever a run plants where it can write: no program of it is run, nothing outside is read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.errors import GitError
from agent_runner.paths import Home
from agent_runner.worktrees import Repository
from agent_runner.worktrees.git import Git

FILES = {"experiment.py": b"rate = 1\n", "harness/data.py": b"x = 1\n", "tool.sh": b"#!/bin/sh\n"}
SECRET = "the-secret-of-another-file"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def repository(home: Home, tmp_path: Path) -> Repository:
    template = tmp_path / "template"
    for name, content in FILES.items():
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_bytes(content)
    (template / "tool.sh").chmod(0o755)
    repository = Repository(home.repository, home.worktrees, home.repository_lock)
    repository.ensure()
    commit, _ = repository.snapshot(template, sorted(FILES), "template")
    repository.add_worktree("idea", commit)
    return repository


@pytest.fixture
def worktree(repository: Repository, home: Home) -> Path:
    return home.worktrees / "idea"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves a canary wherever it is started from."""
    program = tmp_path / "trap.sh"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\ncat\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def untouched(tmp_path: Path, trap: Path) -> Callable[[], bool]:
    return lambda: not (tmp_path / "canary").exists()


def use_everything(repository: Repository, worktree: Path) -> str:
    """Every call there is, around an edit; returns its diff."""
    repository.repair("idea")
    base = repository.head("idea")
    repository.restore("idea", base, repository.changed_files("idea"))
    repository.untracked("idea")
    (worktree / "experiment.py").write_text(f"rate = {os.urandom(4).hex()!r}\n")
    commit, tree = repository.commit_attempt("idea", 1, ["experiment.py"])
    assert commit == repository.head("idea") != base
    assert repository.tree(commit) == tree
    repository.record_attempt("idea", 2, subject="attempt 2: refused")
    repository.set_run_ref("idea", 1, commit)
    repository.collect(grace_s=0, dry_run=False)
    assert repository.show(commit, "harness/data.py") == "x = 1\n"
    assert repository.diff_stat(base, commit)
    text = repository.diff(base, commit)
    repository.undo_attempt("idea", 1)
    assert repository.head("idea") == base
    assert (worktree / "experiment.py").read_bytes() == FILES["experiment.py"]
    return text


EVIL = """\
[core]
\tfsmonitor = {trap}
\thooksPath = {hooks}
\tattributesFile = {hooks}/attributes
\tsshCommand = {trap}
\tpager = {trap}
\teditor = {trap}
[filter "x"]
\tclean = {trap}
\tsmudge = {trap}
\tprocess = {trap}
\trequired = true
[diff]
\texternal = {trap}
[diff "x"]
\ttextconv = {trap}
\tcommand = {trap}
[merge "x"]
\tdriver = {trap}
[credential]
\thelper = {trap}
[alias]
\tadd = !{trap}
\tdiff = !{trap}
\tupdate-ref = !{trap}
[gpg]
\tprogram = {trap}
[commit]
\tgpgSign = true
[uploadpack]
\tpackObjectsHook = {trap}
"""
HOOKS = (
    *("post-checkout", "pre-commit", "post-commit", "reference-transaction", "post-index-change"),
    *("pre-auto-gc", "post-rewrite", "update", "fsmonitor-watchman"),
)
ATTRIBUTES = "* filter=x diff=x merge=x ident text eol=crlf working-tree-encoding=UTF-16\n"


def evil_settings(trap: Path) -> str:
    hooks = trap.parent / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in HOOKS:
        shutil.copy(trap, hooks / name)
    (hooks / "attributes").write_text(ATTRIBUTES)
    return EVIL.format(trap=trap, hooks=hooks)


def evil_repository(folder: Path, trap: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True, env={"PATH": os.environ["PATH"]})
    with open(folder / ".git" / "config", "a") as file:
        file.write(evil_settings(trap))


def test_the_trap_works(tmp_path: Path, trap: Path, untouched: Callable[[], bool]) -> None:
    """Otherwise the tests below could never fail."""
    evil_repository(tmp_path / "evil", trap)
    (tmp_path / "evil" / ".gitattributes").write_text(ATTRIBUTES)
    subprocess.run(["git", "-C", str(tmp_path / "evil"), "status"], capture_output=True)
    assert not untouched()


def git_file_to_an_evil_repository(worktree: Path, home: Home, trap: Path) -> None:
    evil_repository(home.root / "evil", trap)
    (worktree / ".git").write_text(f"gitdir: {home.root}/evil/.git\n")


def git_folder_with_settings_index_and_refs(worktree: Path, home: Home, trap: Path) -> None:
    evil_repository(home.root / "evil", trap)
    (worktree / ".git").unlink()
    (home.root / "evil" / ".git").rename(worktree / ".git")
    (worktree / ".git" / "index").write_bytes(b"DIRC" + bytes(60))
    (worktree / ".git" / "refs" / "heads" / "ideas").mkdir(parents=True)
    (worktree / ".git" / "refs" / "heads" / "ideas" / "idea").write_text("0" * 40)


def attributes_and_modules(worktree: Path, home: Home, trap: Path) -> None:
    for folder in (worktree, worktree / "harness"):
        (folder / ".gitattributes").write_text(ATTRIBUTES)
        (folder / ".gitconfig").write_text(evil_settings(trap))
        (folder / ".gitmodules").write_text(
            f'[submodule "m"]\n\tpath = m\n\turl = ext::{trap}\n\tupdate = !{trap}\n'
        )
    evil_repository(worktree / "m", trap)


def pipes_where_git_looks(worktree: Path, home: Home, trap: Path) -> None:
    for name in (".gitattributes", ".gitmodules", ".gitignore", "harness/.gitattributes"):
        os.mkfifo(worktree / name)


def settings_of_the_home_repository(worktree: Path, home: Home, trap: Path) -> None:
    """At L0 a run can write here, too."""
    repo = home.repository
    (repo / "config").write_text(evil_settings(trap) + f"[include]\n\tpath = {trap}.config\n")
    (repo / "config.worktree").write_text(evil_settings(trap))
    (repo / "info" / "attributes").write_text(ATTRIBUTES)
    shutil.copytree(trap.parent / "hooks", repo / "hooks")


def another_common_directory(worktree: Path, home: Home, trap: Path) -> None:
    evil_repository(home.root / "evil", trap)
    (home.repository / "commondir").write_text(f"{home.root}/evil/.git\n")
    (home.repository / "worktrees" / "idea" / "commondir").write_text(f"{home.root}/evil/.git\n")
    alternates = home.repository / "objects" / "info" / "alternates"
    alternates.write_text(f"{home.root}/evil/.git/objects\n")


def pipes_in_the_home_repository(worktree: Path, home: Home, trap: Path) -> None:
    for name in ("config", "HEAD", "info/attributes"):
        (home.repository / name).unlink()
        os.mkfifo(home.repository / name)


def damaged_index(worktree: Path, home: Home, trap: Path) -> None:
    index = home.repository / "worktrees" / "idea" / "index"
    index.unlink()
    index.symlink_to("/dev/zero")


PLANTS = (
    *(git_file_to_an_evil_repository, git_folder_with_settings_index_and_refs),
    *(attributes_and_modules, pipes_where_git_looks, settings_of_the_home_repository),
    *(another_common_directory, pipes_in_the_home_repository, damaged_index),
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_nothing_planted_is_run(
    plant: Callable[[Path, Home, Path], None],
    repository: Repository,
    worktree: Path,
    home: Home,
    trap: Path,
    untouched: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Git, "timeout_s", 20.0)
    plant(worktree, home, trap)
    trap.parent.joinpath("canary").unlink(missing_ok=True)
    assert "+rate = " in use_everything(repository, worktree)
    assert untouched()


def test_the_servers_own_environment_is_not_asked(
    repository: Repository,
    worktree: Path,
    home: Home,
    trap: Path,
    untouched: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home.root / ".config" / "git").mkdir(parents=True)
    (home.root / ".gitconfig").write_text(evil_settings(trap))
    (home.root / ".config" / "git" / "config").write_text(evil_settings(trap))
    (home.root / ".config" / "git" / "attributes").write_text(ATTRIBUTES)
    planted = {
        "HOME": str(home.root),
        "XDG_CONFIG_HOME": str(home.root / ".config"),
        "GIT_CONFIG_GLOBAL": str(home.root / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(home.root / ".gitconfig"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(trap.parent / "hooks"),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor={trap}'",
        "GIT_EXTERNAL_DIFF": str(trap),
        "GIT_SSH_COMMAND": str(trap),
        "GIT_ASKPASS": str(trap),
        "GIT_PAGER": str(trap),
        "GIT_EDITOR": str(trap),
        "GIT_EXEC_PATH": str(trap.parent),
        "GIT_TEMPLATE_DIR": str(trap.parent),
        "GIT_DIR": str(home.root / "elsewhere"),
        "GIT_COMMON_DIR": str(home.root / "elsewhere"),
        "GIT_WORK_TREE": str(home.root / "elsewhere"),
        "GIT_INDEX_FILE": str(home.root / "elsewhere.index"),
        "GIT_OBJECT_DIRECTORY": str(home.root / "elsewhere.objects"),
        "GIT_NAMESPACE": "elsewhere",
        "GIT_DEFAULT_HASH": "sha256",
        "GIT_TRACE": str(home.root / "trace"),
    }
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    assert "+rate = " in use_everything(repository, worktree)
    other = Repository(home.root / "b.git", home.root / "b", home.root / "b.lock")
    other.ensure()
    other.add_worktree("idea", other.snapshot(worktree, ["experiment.py"], "again")[0])
    assert untouched()
    left = {"elsewhere", "elsewhere.index", "elsewhere.objects", "trace"}
    assert left.isdisjoint(path.name for path in home.root.iterdir())


# ------------------------------------------------------------ files that are none


def link_to_a_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    path.symlink_to(tmp_path / "secret")


def a_pipe(path: Path, tmp_path: Path) -> None:
    os.mkfifo(path)


def an_endless_device(path: Path, tmp_path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    (path / "evidence").write_text("kept")


@pytest.mark.parametrize("put", (link_to_a_file, a_pipe, an_endless_device, a_folder))
def test_what_is_no_file_is_not_read_and_is_set_aside(
    put: Callable[[Path, Path], None], repository: Repository, worktree: Path, tmp_path: Path
) -> None:
    base, path = repository.head("idea"), worktree / "experiment.py"
    path.unlink()
    put(path, tmp_path)
    assert repository.changed_files("idea") == ["experiment.py"]
    with pytest.raises(GitError, match=r"experiment\.py cannot be committed"):
        repository.commit_attempt("idea", 1, ["experiment.py"])
    repository.restore("idea", base, ["experiment.py"])
    assert path.read_bytes() == FILES["experiment.py"] and not path.is_symlink()
    assert repository.changed_files("idea") == []
    [aside] = repository.untracked("idea")
    assert aside.startswith("experiment.py.before-")
    if put is a_folder:
        assert (worktree / aside / "evidence").read_text() == "kept"
    if put is link_to_a_file:
        assert (tmp_path / "secret").read_text() == SECRET
    assert repository.head("idea") == base


def test_a_folder_that_became_a_link_is_not_entered(
    repository: Repository, worktree: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data.py").write_text(SECRET)
    shutil.rmtree(worktree / "harness")
    (worktree / "harness").symlink_to(outside)
    assert repository.changed_files("idea") == ["harness/data.py"]
    with pytest.raises(GitError, match="cannot be committed"):
        repository.commit_attempt("idea", 1, ["harness/data.py"])
    repository.restore("idea", repository.head("idea"), ["harness/data.py"])
    assert (outside / "data.py").read_text() == SECRET
    assert (worktree / "harness" / "data.py").read_bytes() == FILES["harness/data.py"]


def test_the_mode_of_a_file_is_kept_and_compared(repository: Repository, worktree: Path) -> None:
    assert os.access(worktree / "tool.sh", os.X_OK)
    (worktree / "tool.sh").chmod(0o644)
    assert repository.changed_files("idea") == ["tool.sh"]
    repository.restore("idea", repository.head("idea"), ["tool.sh"])
    assert os.access(worktree / "tool.sh", os.X_OK)


def test_a_worktree_of_another_user_can_be_used(repository: Repository, worktree: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    for base, folders, files in os.walk(worktree):
        for name in (".", *folders, *files):
            os.chown(Path(base) / name, 0x70000001, 0x70000001)
    assert "+rate = " in use_everything(repository, worktree)


def test_a_git_that_hangs_is_killed(
    repository: Repository, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ref that is a pipe: git waits on it for ever."""
    monkeypatch.setattr(Git, "timeout_s", 1.0)
    os.mkfifo(home.repository / "packed-refs")
    with pytest.raises(GitError, match="had not ended after 1 s and was killed"):
        repository.set_run_ref("idea", 1, repository.head("idea"))
    (home.repository / "packed-refs").unlink()
    repository.set_run_ref("idea", 1, repository.head("idea"))


def test_people_can_use_git_in_a_worktree(repository: Repository, worktree: Path) -> None:
    (worktree / "experiment.py").write_text("rate = 2\n")
    repository.commit_attempt("idea", 1, ["experiment.py"])
    command = ["git", "-C", str(worktree), "status", "--porcelain"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == ""
    (worktree / "experiment.py").write_text("rate = 3\n")
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == " M experiment.py\n"
    checked = subprocess.run(["git", "--git-dir", str(repository.git_dir), "fsck", "--strict"])
    assert checked.returncode == 0
