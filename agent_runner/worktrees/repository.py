"""`Repository`: the git side of a home, as the service uses it."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent_runner.errors import GitError
from agent_runner.worktrees import collecting, verifying
from agent_runner.worktrees.files import Files
from agent_runner.worktrees.git import remove_lock_files
from agent_runner.worktrees.layout import Layout
from agent_runner.worktrees.objects import (
    Entry,
    encode_commit,
    encode_trees,
    new_objects,
    object_id,
)
from agent_runner.worktrees.rescue import UNMOVED, rescue
from agent_runner.worktrees.store import Store, attempt_ref, branch, run_ref

_NAME = re.compile(r"[\w-]+")
# A template's commit carries no clock: the same bytes are the same commit in every home.
_NO_CLOCK = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


class Repository:
    """Safe to use from several processes: whatever changes the repository holds its lock.

    What several processes do in one worktree is for the caller to keep apart (by the idea's lock).
    """

    def __init__(self, git_dir: Path, worktrees: Path, lock: Path) -> None:
        self.git_dir = git_dir.absolute()
        self._worktrees = worktrees.absolute()
        self._store = Store(self.git_dir, lock)
        self._files: dict[str, Files] = {}

    def ensure(self) -> None:
        """Create the bare repository where it is missing or incomplete."""
        self._store.git.ensure()

    # ------------------------------------------------------------ templates and worktrees

    def snapshot(self, folder: Path, files: Sequence[str], message: str) -> tuple[str, str]:
        """Commit the named files of a folder as a root commit; returns (commit, tree)."""
        source = Files(folder.absolute())
        with new_objects(self.git_dir) as objects:
            listing = {}
            for name in files:
                found = source.read(name)
                if found is None:
                    raise GitError(f"{folder / name} has gone", "Repeat with a folder at rest.")
                listing[name] = Entry(found[1], objects.add("blob", found[0]), len(found[0]))
            tree = objects.add_tree(listing)
            commit = objects.add("commit", encode_commit(tree, None, message, _NO_CLOCK))
        ref = f"refs/templates/{tree}"
        if self._store.find(ref) != commit:
            with self._store.locked() as lock:
                self._store.set_refs(lock, {ref: commit}, {})
        return commit, tree

    def add_worktree(self, idea: str, commit: str) -> None:
        """A branch and a folder of an idea's own, at a commit. Repeatable: what a kill left is completed.

        Raises:
            GitError: there is a branch of that name, with other code.
        """
        ref = branch(self._named(idea))
        with self._store.locked() as lock:
            found = self._store.find(ref)
            if found is None:
                self._store.set_refs(lock, {ref: commit}, {ref: None})
        if found is not None and self.tree(found) != self.tree(commit):
            raise GitError(
                f"there is a branch of {idea!r} already, with other code: {found}",
                "Choose another title, or see with `git log` what that branch holds.",
            )
        self.repair(idea)

    def repair(self, idea: str, base: str | None = None) -> list[str]:
        """Make an idea's worktree whole where its folder or git's entry for it was damaged or deleted.

        What is in the way is renamed, not removed. Files that differ from the head stay as they are
        (`changed_files` names them), unless the whole folder was gone. Returns what was done, in words; where
        nothing is wrong, this takes no call of git.

        base: the commit the idea began at, for a branch that was lost before its first attempt.

        Raises:
            GitError: the idea has no branch, and nothing is known from which it could be made again.
        """
        layout = self._layout(idea)
        head = self._store.find(branch(idea))
        if head is not None and not self._store.holds(head):
            head = None
        if head is not None and layout.complete():
            return []
        done = []
        was_laid_out = layout.laid_out()
        with self._store.locked() as lock:
            if head is None:
                head = rescue(self._store, lock, idea, base)
                done.append("the branch was lost, and made again from its attempts")
            done += layout.mend()
            if not was_laid_out:
                listing = self._store.listing(head)
                changed = self._at(idea).differing(listing)
                self._write(idea, listing, changed, keep=True)
                done += ["the files of its last commit were put there"] if changed else []
            layout.write_index(self._store.listing(head))
        return done

    def remove_worktree(self, name: str, keep: Path) -> None:
        """Remove a worktree's folder and git's entry for it. Its branch stays: `add_worktree` brings it back.

        keep: a new folder for what no commit holds: the runs' outputs, files that were changed or added.
        """
        layout = self._layout(name)
        for kept in self.uncommitted(name):
            keep.mkdir(parents=True, exist_ok=True)
            (layout.folder / kept).rename(keep / kept)
        with self._store.locked():
            layout.remove()

    def forget(self, name: str) -> bool:
        """Remove git's entry for a worktree whose folder is gone; whether there was one."""
        layout = self._layout(name)
        with self._store.locked():
            if os.path.lexists(layout.folder) or not os.path.lexists(layout.entry):
                return False
            layout.remove()
        return True

    def worktrees(self) -> list[str]:
        """Names of all worktrees that have a folder or an entry of git's."""
        folders = (self._worktrees, self.git_dir / "worktrees")
        found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
        return sorted(name for name in found if _NAME.fullmatch(name))

    # ------------------------------------------------------------ attempts

    def commit_attempt(
        self,
        idea: str,
        number: int,
        editable: Sequence[str],
        *,
        date: str | None = None,
        run_id: str | None = None,
    ) -> tuple[str, str]:
        """Commit the editable files to the idea's branch; returns (commit, tree).

        The commit is also kept as `refs/attempts/<idea>/<number>`. An unchanged tree gives the head, and no
        commit. date: ISO 8601; the same edit, number and date are the same commit. Default: now.

        Raises:
            GitError: an editable file is no regular file.
        """
        self.repair(idea)
        head = self.head(idea)
        files, contents = self._with_edits(idea, head, editable)
        if encode_trees(files)[-1][0] == self.tree(head):
            return head, self.tree(head)
        message = _message(_subject(number), "", idea, number, run_id)
        with new_objects(self.git_dir) as objects:
            for content in contents:
                objects.add("blob", content)
            tree = objects.add_tree(files)
            commit = objects.add("commit", encode_commit(tree, head, message, _moment(date)))
        self._store.remember(commit, files)
        refs = {branch(idea): commit, attempt_ref(idea, number): commit}
        with self._store.locked() as lock:
            self._store.set_refs(lock, refs, {branch(idea): head})
        self._layout(idea).write_index(files)
        return commit, tree

    def record_attempt(
        self,
        idea: str,
        number: int,
        *,
        tree: str | None = None,
        parent: str | None = None,
        subject: str | None = None,
        body: str = "",
        date: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """Keep an attempt as a commit that no branch moves to; returns the commit.

        For attempts that changed nothing: tree and parent are the head's, unless others are given. An attempt
        that is on record already (`commit_attempt` has made its commit, or this was called before) stays as it
        is. The same arguments are the same commit.
        """
        ref = attempt_ref(idea, number)
        known = self._store.find(ref)
        if known is not None:
            return known
        parent = parent or self.head(idea)
        message = _message(subject or _subject(number), body, idea, number, run_id)
        message = f"{message}\n{UNMOVED}"
        content = encode_commit(tree or self.tree(parent), parent, message, _moment(date))
        with new_objects(self.git_dir) as objects:
            commit = objects.add("commit", content)
        with self._store.locked() as lock:
            self._store.set_refs(lock, {ref: commit}, {})
        return commit

    def undo_attempt(self, idea: str, number: int) -> None:
        """Take back the edit of an attempt that was interrupted before its run; its commit is kept."""
        self.repair(idea)
        head = target = self.head(idea)
        commit = self._store.commit(head)
        if commit.subject == _subject(number) and commit.parents:
            target = commit.parents[0]
            refs = {f"refs/interrupted/{idea}/{number}": head, branch(idea): target}
            with self._store.locked() as lock:
                self._store.set_refs(lock, refs, {branch(idea): head})
        listing = self._store.listing(target)
        self._layout(idea).write_index(listing)
        self._write(idea, listing, self._at(idea).differing(listing))
        for name, entry in self._store.listing(head).items():
            if name not in listing:
                self._at(idea).remove(name, entry)

    def set_run_ref(self, idea: str, index: int, commit: str) -> None:
        """`refs/runs/<idea>/<i>` keeps a run's commit reachable for ever."""
        if self._store.find(run_ref(idea, index)) != commit:
            with self._store.locked() as lock:
                self._store.set_refs(lock, {run_ref(idea, index): commit}, {})

    # ------------------------------------------------------------ the files of a worktree

    def restore(self, idea: str, commit: str, files: Sequence[str]) -> None:
        """Put the named files back to what they were in a commit.

        Whatever stands in their way (a link, a pipe, a folder) is kept beside them as `<name>.before-<time>`.

        Raises:
            GitError: the commit has no such file.
        """
        self.repair(idea)
        listing = self._store.listing(commit)
        unknown = [name for name in files if name not in listing]
        if unknown:
            raise GitError(f"the commit {commit} has no file {unknown[0]}", "Name a file it has.")
        self._write(idea, listing, files)

    def changed_files(self, idea: str) -> list[str]:
        """Committed files whose bytes or kind differ from the head commit's."""
        return sorted(self._at(idea).differing(self._store.listing(self.head(idea))))

    def untracked(self, idea: str) -> list[str]:
        """What lies in the worktree beside the committed files and the runs' own folders.

        Folders without any committed file are named as a whole, with a `/` at the end.
        """
        return self._at(idea).others(self._store.listing(self.head(idea)))

    def uncommitted(self, idea: str) -> list[str]:
        """Names at the top of a worktree below which something lies that no commit holds; runs included."""
        folder = self._layout(idea).folder
        inside = (*self.changed_files(idea), *self.untracked(idea))
        names = {name.split("/")[0] for name in inside} | {p.name for p in folder.glob("run_*")}
        return sorted(name for name in names if os.path.lexists(folder / name))

    # ------------------------------------------------------------ reading

    def head(self, idea: str) -> str:
        found = self._store.find(branch(self._named(idea)))
        return found if found is not None else self._store.resolve(branch(idea))

    def tree(self, revision: str) -> str:
        return self._store.commit(revision).tree

    def show(self, revision: str, name: str) -> str:
        """Text of one file in a commit; empty where the commit has no such file."""
        entry = self._store.listing(revision).get(name)
        return "" if entry is None else _text(next(self._store.contents([entry])))

    def files(self, revision: str) -> list[str]:
        """Paths of all files in a commit."""
        return list(self._store.listing(revision))

    def diff(self, old: str, new: str) -> str:
        """Unified diff between any two commits or refs; undecodable bytes are replaced."""
        return _text(self._diff("--patch", old, new))

    def diff_stat(self, old: str, new: str) -> str:
        """One line: files changed, insertions, deletions. Empty where nothing changed."""
        return "" if old == new else _text(self._diff("--shortstat", old, new)).strip()

    def verify(self, expected: Mapping[str, tuple[str, str]]) -> list[verifying.GitFault]:
        """What the repository should hold and does not.

        expected: by the name of a ref (`run_ref`, `attempt_ref`), its commit and that commit's tree.
        """
        return verifying.verify(self._store, expected)

    def collect(self, *, grace_s: float, dry_run: bool) -> collecting.Unreachable:
        """Remove objects that no ref reaches and that are older than the grace time, and stale lock files."""
        with self._store.locked() as lock:
            if not dry_run:
                remove_lock_files(self.git_dir)
            return collecting.prune(self._store, lock, grace_s=grace_s, dry_run=dry_run)

    # ------------------------------------------------------------ inside

    def _diff(self, form: str, old: str, new: str) -> bytes:
        options = ("--no-ext-diff", "--no-textconv", "--no-color", "--find-renames")
        return self._store.git.read("diff", form, *options, "--end-of-options", old, new, "--")

    def _named(self, idea: str) -> str:
        """An idea's id is a folder and a ref: nothing else may stand in for one."""
        if not _NAME.fullmatch(idea):
            raise GitError(f"{idea!r} cannot be the name of a worktree", "Use letters and dashes.")
        return idea

    def _layout(self, idea: str) -> Layout:
        return Layout(self.git_dir, self._worktrees, self._named(idea))

    def _at(self, idea: str) -> Files:
        if idea not in self._files:
            self._files[idea] = Files(self._layout(idea).folder)
        return self._files[idea]

    def _with_edits(
        self, idea: str, head: str, editable: Sequence[str]
    ) -> tuple[dict[str, Entry], list[bytes]]:
        """The head's files with the editable ones as they are on disk, and the contents of those."""
        files = dict(self._store.listing(head))
        contents = []
        for name in editable:
            try:
                found = self._at(idea).read(name)
            except OSError as error:
                raise GitError(
                    f"{name} cannot be committed: {error.strerror or error}",
                    "Something put a link, a pipe or a folder in its place; `restore` puts the file back.",
                ) from error
            if found is not None:
                data, mode = found
                files[name] = Entry(mode, object_id("blob", data), len(data))
                contents.append(data)
        return files, contents

    def _write(
        self,
        idea: str,
        listing: Mapping[str, Entry],
        names: Sequence[str],
        *,
        keep: bool = False,
    ) -> None:
        entries = [listing[name] for name in names]
        for name, entry, data in zip(names, entries, self._store.contents(entries), strict=True):
            self._at(idea).write(name, data, entry.mode, keep=keep)


def _subject(attempt: int) -> str:
    return f"attempt {attempt}"


def _message(subject: str, body: str, idea: str, number: int, run_id: str | None) -> str:
    trailers = f"Attempt: {idea}/{number}" + (f"\nRun-Id: {run_id}" if run_id else "")
    return "\n\n".join(filter(None, (" ".join(subject.split()), body.strip(), trailers)))


def _moment(date: str | None) -> datetime.datetime:
    if date is None:
        return datetime.datetime.now(datetime.UTC)
    moment = datetime.datetime.fromisoformat(date)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
