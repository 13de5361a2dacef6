"""`agent-runner gc`: what is no longer referenced goes, evidence never does.

Commits, refs, replies, results, logs and what runs wrote into their output folders are evidence. What goes can
be made again (a baseline's worktree) or was only ever temporary (a dead job's scratch folders, half-written
files). Whatever is in use, or not certainly what it seems to be, is left alone and named.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from pathlib import Path

from agent_runner.errors import AgentRunnerError
from agent_runner.execution import job_files, trees
from agent_runner.paths import AttemptPaths, Home, IdeaPaths, JobPaths, try_lock
from agent_runner.records import Record
from agent_runner.service.baselines import default_fingerprint
from agent_runner.service.verifying import WORKTREE_PREFIX, verification_lock
from agent_runner.service.workspace import Workspace

GRACE_S = 14 * 24 * 3600.0  # as git's own: no commit takes that long to be made

_SCRATCH_NAME = re.compile(rf"{job_files.SCRATCH_PREFIX}[a-z0-9_]{{8}}")
_PREFIX = "baseline-"  # of a baseline's worktree, before its fingerprint


class Item(Record):
    """One thing that was looked at: freed (or, in a dry run, to be freed), or left alone."""

    what: str
    path: str
    bytes: int
    freed: bool
    reason: str


class Collected(Record):
    """What one collection did."""

    dry_run: bool
    items: tuple[Item, ...]

    @property
    def freed_bytes(self) -> int:
        """The disk space of everything that was freed."""
        return sum(item.bytes for item in self.items if item.freed)


def collect(workspace: Workspace, *, dry_run: bool = False, grace_s: float = GRACE_S) -> Collected:
    """Free what nobody needs any more. Repeatable; safe beside running servers.

    dry_run: change nothing, only say what would be freed.
    grace_s: objects in git that no ref reaches are kept this long, in seconds.
    """
    collection = _Collection(workspace, dry_run)
    for folder in _folders(workspace.home.ideas):
        collection.idea(workspace.home.idea(folder.name))
    for folder in _folders(workspace.home.root / "baselines"):
        collection.baseline(folder.name)
    collection.worktrees()
    collection.objects(grace_s)
    collection.cache()
    return Collected(dry_run=dry_run, items=tuple(collection.items))


class _Collection:
    """One pass over a home."""

    def __init__(self, workspace: Workspace, dry_run: bool) -> None:
        self._workspace = workspace
        self._home: Home = workspace.home
        self._dry_run = dry_run
        self.items: list[Item] = []

    def idea(self, paths: IdeaPaths) -> None:
        """The leftovers of an idea's dead jobs and writers."""
        with try_lock(paths.lock) as ours:
            if not ours:
                self._keep("idea", paths.folder, "a server works on it")
                return
            if not paths.record.exists():
                self._keep("idea", paths.folder, "its creation was never finished")
            self._temporary(paths.folder)
            for run in _folders(paths.folder / "runs"):
                self._job(run)
            for attempt in _folders(paths.folder / "attempts"):
                self._temporary(attempt)
                for step in _folders(attempt):
                    self._job(step)
            self._verifications(paths)

    def _verifications(self, paths: IdeaPaths) -> None:
        """The leftovers of dead verifications, which have a lock of their own beside the idea's."""
        if not paths.verifications.is_dir():
            return
        with try_lock(verification_lock(paths)) as ours:
            if not ours:
                self._keep("verifications", paths.verifications, "one is going on")
                return
            for again in _folders(paths.verifications):
                self._job(again)

    def baseline(self, fingerprint: str) -> None:
        """The leftovers of a baseline's dead jobs."""
        with try_lock(self._home.baseline_lock(fingerprint)) as ours:
            folder = self._home.baseline(fingerprint).folder
            if not ours:
                self._keep("baseline", folder, "it is being measured")
                return
            self._job(folder)
            for step in (*_folders(folder), *_folders(folder / "noise")):
                self._job(step)

    def _job(self, folder: Path) -> None:
        """The scratch folders and half-written files of a job that has ended."""
        if not (folder / job_files.SPEC).is_file():
            return
        if job_files.is_locked(str(folder / job_files.LOCK)):
            self._keep("job", folder, "it goes on")
            return
        self._temporary(folder)
        box = folder / job_files.BOX
        if _is_folder(box):  # not through a link, which the job may have put there
            for name in ("tmp", "home"):
                self._free_folder("scratch folder", box / name, "its job has ended")
        link = folder / job_files.SCRATCH_LINK
        if link.is_symlink():
            self._scratch(link)

    def _scratch(self, link: Path) -> None:
        """A job's TMPDIR. Only what can be nothing else: at L0 a job can point the link anywhere."""
        target = link.readlink()
        plain = target.is_absolute() and ".." not in target.parts
        if not (plain and _SCRATCH_NAME.fullmatch(target.name)):
            self._keep("scratch link", link, f"it points at {target}, which is no scratch folder")
            return
        self._free_folder("scratch folder", target, "its job has ended")
        self._free_file("scratch link", link, "its job has ended")

    def _temporary(self, folder: Path) -> None:
        """Files that a writer was killed over. Who holds the lock knows that no writer lives."""
        for entry in os.scandir(folder):
            if _is_temporary(entry.name) and entry.is_file(follow_symlinks=False):
                self._free_file("half-written file", Path(entry.path), "its writer is dead")

    # ------------------------------------------------------------ git

    def worktrees(self) -> None:
        """Worktrees of dead verifications and of baselines no idea has any more; entries without a folder."""
        # In this order: an idea has its folder before its worktree, so that of a worktree listed here
        # the idea is known, also where it is created just now.
        names = self._workspace.repository.worktrees()
        known = {folder.name for folder in _folders(self._home.ideas)}
        wanted = self._fingerprints()
        for name in names:
            folder = self._home.worktrees / name
            fingerprint = name.removeprefix(_PREFIX)
            if name in known:
                continue
            if not os.path.lexists(folder):
                self._forget(name, folder)
            elif name.startswith(WORKTREE_PREFIX) and _verified(name) in known:
                self._verification_worktree(name)
            elif not name.startswith(_PREFIX):
                self._keep("worktree", folder, "it belongs to no idea here")
            elif wanted is None:
                self._keep("worktree", folder, "an idea that may need it cannot be read")
            elif fingerprint not in wanted:
                self._baseline_worktree(name, fingerprint)

    def _baseline_worktree(self, name: str, fingerprint: str) -> None:
        folder = self._home.worktrees / name
        records = self._home.baseline(fingerprint)
        with try_lock(self._home.baseline_lock(fingerprint)) as ours:
            locks = (records.folder / job_files.LOCK, records.folder / "prepare" / job_files.LOCK)
            if not ours or any(job_files.is_locked(str(path)) for path in locks):
                self._keep("worktree", folder, "its baseline is being measured")
                return
            repository = self._workspace.repository
            kept = sum(_size(folder / part) for part in repository.uncommitted(name))
            size = _size(folder) - kept
            if not self._dry_run:
                keep = records.folder / "worktrees" / str(time.time_ns())
                repository.remove_worktree(name, keep)
            self._freed("worktree", folder, size, "no idea has this baseline any more")

    def _verification_worktree(self, name: str) -> None:
        folder = self._home.worktrees / name
        paths = self._home.idea(_verified(name))
        records = paths.verifications / name.rpartition("--")[2]
        with try_lock(verification_lock(paths)) as ours:
            if not ours or job_files.is_locked(str(records / job_files.LOCK)):
                self._keep("worktree", folder, "its verification is going on")
                return
            if not os.path.lexists(folder):  # it has ended since the worktrees were listed
                return
            repository = self._workspace.repository
            size = _size(folder) - sum(
                _size(folder / part) for part in repository.uncommitted(name)
            )
            if not self._dry_run:
                repository.remove_worktree(name, records / "worktree")
            self._freed("worktree", folder, size, "its verification is dead")

    def _forget(self, name: str, folder: Path) -> None:
        entry = self._home.repository / "worktrees" / name
        size = _size(entry)
        if self._dry_run or self._workspace.repository.forget(name):
            self._freed("worktree entry", entry, size, f"{folder} is gone")

    def _fingerprints(self) -> set[str] | None:
        """The baselines that ideas would be measured by now; None where that is not certain."""
        wanted = set()
        for folder in _folders(self._home.ideas):
            if not self._home.idea(folder.name).record.exists():
                continue
            try:
                idea = self._workspace.idea(folder.name)
                wanted.add(default_fingerprint(self._workspace, idea))
            except (AgentRunnerError, ValueError, OSError):
                return None
        return wanted

    def objects(self, grace_s: float) -> None:
        """What is in the repository and no ref reaches."""
        found = self._workspace.repository.collect(grace_s=grace_s, dry_run=self._dry_run)
        if found.objects:
            reason = f"{found.objects} objects that nothing refers to"
            self._freed("git objects", self._home.repository, found.bytes, reason)

    def cache(self) -> None:
        """Runs read the cache without a trace, so that nobody can say what of it is needed."""
        if self._home.cache.is_dir():
            self._keep("cache", self._home.cache, "shared inputs; any idea may need them")

    # ------------------------------------------------------------ the account

    def _free_folder(self, what: str, folder: Path, reason: str) -> None:
        if not _is_folder(folder):
            return
        size = _size(folder)
        if not self._dry_run:
            trees.remove(str(folder))
        if os.path.lexists(folder) and not self._dry_run:
            self._keep(what, folder, "it cannot be removed")
        else:
            self._freed(what, folder, size, reason)

    def _free_file(self, what: str, path: Path, reason: str) -> None:
        size = path.lstat().st_blocks * 512
        if not self._dry_run:
            path.unlink()
        self._freed(what, path, size, reason)

    def _freed(self, what: str, path: Path, size: int, reason: str) -> None:
        self.items.append(Item(what=what, path=str(path), bytes=size, freed=True, reason=reason))

    def _keep(self, what: str, path: Path, reason: str) -> None:
        size = _size(path)
        self.items.append(Item(what=what, path=str(path), bytes=size, freed=False, reason=reason))


_JOB = JobPaths(Path())
_ATTEMPT = AttemptPaths(Path())
_IDEA = IdeaPaths(Path(), Path())
_WRITTEN = "|".join(
    re.escape(path.name)
    for path in (
        *(_JOB.final_info, _JOB.result, _ATTEMPT.reply, _ATTEMPT.diff, _ATTEMPT.observation),
        *(_IDEA.record, _IDEA.history),
        *(Path(name) for name in (job_files.SPEC, job_files.STARTED, job_files.EXIT)),
        *(Path(name) for name in (job_files.EXCEPTION, job_files.EVENTS, job_files.STACKS)),
    )
)
# As `paths.write_atomic` and `job_files.write_durable` name a file that is not yet complete.
_TEMPORARY = re.compile(rf"\.({_WRITTEN})\.[a-z0-9_]{{8}}|({_WRITTEN})\.[0-9]+\.aside")


def _is_temporary(name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None


def _verified(name: str) -> str:
    """The idea of a verification's worktree."""
    return name.removeprefix(WORKTREE_PREFIX).rpartition("--")[0]


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; links are none."""
    try:
        with os.scandir(folder) as found:
            return sorted(Path(e.path) for e in found if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _size(folder: Path) -> int:
    """Bytes on disk of everything below a folder, no link followed."""
    total = 0
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(base, name)).st_blocks * 512
    return total
