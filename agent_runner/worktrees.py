"""The only caller of git: one bare repository per home, one branch and worktree per idea.

Every call names the repository itself (a run may have replaced the worktree's `.git` file) and runs
without hooks, without the user's or the system's configuration and without attribute filters: nothing
that a run could plant is executed, and every byte survives as it was.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import git

from agent_runner.errors import GitError
from agent_runner.paths import file_lock, write_atomic

_CONFIGURATION = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.autocrlf=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "safe.directory=*"),
    *("-c", "gc.auto=0"),
    *("-c", "diff.external="),
)
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "GIT_AUTHOR_NAME": "agent_runner",
    "GIT_AUTHOR_EMAIL": "agent_runner@localhost",
    "GIT_COMMITTER_NAME": "agent_runner",
    "GIT_COMMITTER_EMAIL": "agent_runner@localhost",
}
# A template's commit carries no clock: the same bytes are the same commit in every home.
_NO_CLOCK = {
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00+00:00",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00+00:00",
}
# Above any .gitattributes a template or an edit may bring: no conversion, no filter, no ident.
_ATTRIBUTES = b"* -text -filter -ident -working-tree-encoding !eol !diff\n"


def _subject(attempt: int) -> str:
    return f"attempt {attempt}"


class Repository:
    """The git side of a home. Safe to use from several processes: shared files change under a lock."""

    def __init__(self, git_dir: Path, worktrees: Path, lock: Path) -> None:
        self.git_dir = git_dir.absolute()
        self._worktrees = worktrees.absolute()
        self._lock = lock

    def ensure(self) -> None:
        """Create the bare repository once."""
        with file_lock(self._lock):
            if (self.git_dir / "info" / "attributes").exists():
                return
            self.git_dir.parent.mkdir(parents=True, exist_ok=True)
            self._git("init", "--quiet", "--bare", "--initial-branch=main")
            write_atomic(self.git_dir / "info" / "attributes", _ATTRIBUTES)

    # ------------------------------------------------------------ templates and worktrees

    def snapshot(self, folder: Path, files: Sequence[str], message: str) -> tuple[str, str]:
        """Commit the named files of a folder as a root commit; returns (commit, tree)."""
        with tempfile.TemporaryDirectory(prefix="agent_runner.") as scratch:
            index = {
                "GIT_INDEX_FILE": str(Path(scratch) / "index"),
                "GIT_WORK_TREE": str(folder.absolute()),
            }
            self._add(files, at=folder, environment=index)
            tree = self._git("write-tree", environment=index)
        commit = self._git("commit-tree", tree, "-m", message, environment=_NO_CLOCK)
        self._git("update-ref", f"refs/templates/{tree}", commit)
        return commit, tree

    def add_worktree(self, idea: str, commit: str) -> None:
        """Check out a new branch for an idea. Serialised: git itself races on shared files."""
        with file_lock(self._lock):
            self._worktrees.mkdir(parents=True, exist_ok=True)
            folder = str(self._worktrees / idea)
            self._git("worktree", "add", "--quiet", "-b", f"ideas/{idea}", folder, commit)

    # ------------------------------------------------------------ inside an idea's worktree

    def tree_on_disk(self, idea: str, editable: Sequence[str]) -> str:
        """The tree hash of the head with the editable files as they are on disk now."""
        folder, inside = self._inside(idea)
        present = [name for name in editable if (folder / name).is_file()]
        self._add(present, at=folder, environment=inside)
        return self._git("write-tree", at=folder, environment=inside)

    def commit_attempt(self, idea: str, number: int, editable: Sequence[str]) -> tuple[str, str]:
        """Commit the editable files; returns (commit, tree). An unchanged tree gives the head."""
        tree = self.tree_on_disk(idea, editable)
        head = self.head(idea)
        if tree == self.tree(head):
            return head, tree
        commit = self._git("commit-tree", tree, "-p", head, "-m", _subject(number))
        self._git("update-ref", f"refs/heads/ideas/{idea}", commit, head)
        return commit, tree

    def undo_attempt(self, idea: str, number: int) -> None:
        """Take back the edit of an attempt that was interrupted before its run; its commit is kept."""
        head = self.head(idea)
        folder, inside = self._inside(idea)
        target = head
        if self._git("log", "-1", "--format=%s", head) == _subject(number):
            self._git("update-ref", f"refs/interrupted/{idea}/{number}", head)
            target = f"{head}^"
        self._git("reset", "--quiet", "--hard", target, at=folder, environment=inside)

    def restore(self, idea: str, commit: str, files: Sequence[str]) -> None:
        """Put the named files back to what they were in a commit."""
        folder, inside = self._inside(idea)
        if files:
            self._git("checkout", "--quiet", commit, "--", *files, at=folder, environment=inside)

    def changed_files(self, idea: str) -> list[str]:
        """Tracked files whose bytes differ from the head commit."""
        folder, inside = self._inside(idea)
        listing = self._git(
            *("diff", "--name-only", "-z", "--no-ext-diff", "HEAD"), at=folder, environment=inside
        )
        return [name for name in listing.split("\0") if name]

    def untracked(self, idea: str) -> list[str]:
        """What lies in the worktree beside the committed files and the runs' own folders.

        Folders without any committed file are named as a whole, with a `/` at the end.
        """
        folder, inside = self._inside(idea)
        listing = self._git(
            *("ls-files", "--others", "--directory", "-z", "--exclude=/run_*/"),
            at=folder,
            environment=inside,
        )
        return [name for name in listing.split("\0") if name]

    def head(self, idea: str) -> str:
        return self._git("rev-parse", f"refs/heads/ideas/{idea}")

    # ------------------------------------------------------------ reading

    def tree(self, revision: str) -> str:
        return self._git("rev-parse", f"{revision}^{{tree}}")

    def show(self, revision: str, name: str) -> str:
        """Text of one file in a commit; empty where the commit has no such file."""
        try:
            return self._git("show", f"{revision}:{name}", keep_end=True)
        except GitError:
            return ""

    def files(self, revision: str) -> list[str]:
        """Paths of all files in a commit."""
        listing = self._git("ls-tree", "-r", "-z", "--name-only", revision)
        return [name for name in listing.split("\0") if name]

    def diff(self, old: str, new: str) -> str:
        """Unified diff between two commits; undecodable bytes are replaced."""
        return self._git("diff", "--no-ext-diff", "--no-textconv", old, new, keep_end=True)

    def diff_stat(self, old: str, new: str) -> str:
        """One line: files changed, insertions, deletions. Empty where nothing changed."""
        return self._git("diff", "--no-ext-diff", "--shortstat", old, new).strip()

    def set_run_ref(self, idea: str, index: int, commit: str) -> None:
        """`refs/runs/<idea>/<i>` keeps a run's commit reachable for ever."""
        self._git("update-ref", f"refs/runs/{idea}/{index}", commit)

    # ------------------------------------------------------------ the one call

    def _inside(self, idea: str) -> tuple[Path, dict[str, str]]:
        folder = self._worktrees / idea
        own = self.git_dir / "worktrees" / idea
        return folder, {
            "GIT_DIR": str(own),
            "GIT_WORK_TREE": str(folder),
            "GIT_INDEX_FILE": str(own / "index"),
        }

    def _add(self, files: Sequence[str], *, at: Path, environment: Mapping[str, str]) -> None:
        """Stage an explicit list (never `-A`: a run may have left anything behind)."""
        with tempfile.NamedTemporaryFile(prefix="agent_runner.") as listing:
            listing.write(b"\0".join(os.fsencode(name) for name in files))
            listing.flush()
            self._git(
                *("--literal-pathspecs", "add", "--force"),
                *(f"--pathspec-from-file={listing.name}", "--pathspec-file-nul"),
                at=at,
                environment=environment,
            )

    def _git(
        self,
        *arguments: str,
        at: Path | None = None,
        environment: Mapping[str, str] | None = None,
        keep_end: bool = False,
    ) -> str:
        location = {"GIT_DIR": str(self.git_dir), **_ENVIRONMENT, **(environment or {})}
        folder = at or self.git_dir.parent
        try:
            output: bytes = git.Git(str(folder)).execute(
                ["git", *_CONFIGURATION, *arguments],
                env=location,
                stdout_as_string=False,
                strip_newline_in_stdout=not keep_end,
            )
        except git.GitCommandNotFound as error:
            raise GitError("git was not found", "Install git 2.31 or newer.") from error
        except git.GitCommandError as error:
            raise GitError(
                f"git {arguments[0]} failed: {str(error.stderr).strip() or error.status}",
                f"Run `agent-runner doctor`. The repository is {self.git_dir}.",
            ) from error
        return output.decode("utf-8", errors="replace")
