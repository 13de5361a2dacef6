"""What the files and git say of one idea: read, not judged."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from agent_runner.errors import GitError
from agent_runner.ledger import Account
from agent_runner.paths import AttemptPaths, Home, IdeaPaths, JobPaths, read_json, try_lock
from agent_runner.records import Idea, Observation, RunResult
from agent_runner.results import flat_metrics, read_results
from agent_runner.service.attempt_records import AttemptRecord, read_attempt_record
from agent_runner.worktrees import GitFault, Repository, run_ref
from agent_runner.worktrees.store import Store, branch

_Read = TypeVar("_Read")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class AttemptEvidence:
    """The records of one attempt. Times are those of its files, ISO-8601 UTC."""

    request: AttemptRecord | None = None
    observation: Observation | None = None
    reply_sha256: str | None = None
    begun: str | None = None
    ended: str | None = None


@dataclass(frozen=True)
class RunEvidence:
    """The records of one run.

    `metrics` are those of the results kept with the records, `original_sha256` is the digest of the file
    the run itself wrote into the worktree, `blob_sha256` that of the bytes kept when it was read; None
    where there is no such file.
    """

    result: RunResult | None = None
    metrics: Mapping[str, float] | None = None
    original_sha256: str | None = None
    blob_sha256: str | None = None
    begun: str | None = None
    ended: str | None = None


@dataclass(frozen=True)
class Listing:
    """Which records an idea's folder has, by number, and the entries of it that are none of ours."""

    attempts: frozenset[int] = frozenset()
    runs: frozenset[int] = frozenset()
    strays: tuple[str, ...] = ()


@dataclass(frozen=True)
class IdeaEvidence:
    """Everything on disk and in git about one idea.

    Attributes:
        refs: commit of each run ref; trees: the tree of each of these commits that git has.
        git_faults: where git does not hold what the ledger says that settled runs were made of.
        commits: (commit, tree) of each attempt on the idea's branch.
        unreadable: records that are there and cannot be read: what, and why.
        busy: another process works on the idea just now.
    """

    id: str
    idea: Idea | None = None
    listing: Listing = Listing()
    attempts: Mapping[int, AttemptEvidence] = field(default_factory=dict)
    runs: Mapping[int, RunEvidence] = field(default_factory=dict)
    refs: Mapping[int, str] = field(default_factory=dict)
    trees: Mapping[str, str] = field(default_factory=dict)
    git_faults: tuple[GitFault, ...] = ()
    commits: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    busy: bool = False


@contextmanager
def idle(lock: Path) -> Iterator[bool]:
    """Hold an idea's lock where it is free; False, and not held, where somebody works on the idea."""
    if (
        not lock.parent.exists()
    ):  # nobody can be at work there, and no folder is to be made for a look
        yield True
        return
    with try_lock(lock) as free:
        yield free


def list_records(paths: IdeaPaths) -> Listing:
    """Which attempts and runs have a folder."""
    attempts, first = _numbered(paths.folder / "attempts")
    runs, second = _numbered(paths.folder / "runs")
    return Listing(attempts, runs, (*first, *second))


def read_evidence(
    home: Home,
    repository: Repository,
    idea: str,
    listing: Listing,
    account: Account | None = None,
    *,
    busy: bool = False,
) -> IdeaEvidence:
    """Read the records that were listed or that the ledger knows of, and what git knows of their code."""
    reader = _Reader()
    paths = home.idea(idea)
    attempts, runs = set(listing.attempts), set(listing.runs)
    if account is not None:
        attempts |= {row.number for row in account.attempts}
        runs |= {row.number for row in account.runs}
    store = Store(home.repository, home.repository_lock)
    refs = _run_refs(store, idea)
    return IdeaEvidence(
        id=idea,
        idea=reader.read(paths.record, lambda: _idea(paths)),
        listing=listing,
        attempts={number: reader.attempt(paths.attempt(number)) for number in sorted(attempts)},
        runs={
            number: reader.run(home, paths.run(number), paths.worktree / f"run_{number}")
            for number in sorted(runs)
        },
        refs=refs,
        trees=_trees(store, refs.values()),
        git_faults=_faults(repository, account) if account is not None else (),
        commits=reader.read(branch(idea), lambda: _attempt_commits(store, idea)) or {},
        unreadable=tuple(reader.unreadable),
        busy=busy,
    )


class _Reader:
    """Reads records, and collects those that cannot be read."""

    def __init__(self) -> None:
        self.unreadable: list[tuple[str, str]] = []

    def read(self, path: Path | str, parse: Callable[[], _Read]) -> _Read | None:
        try:
            return parse()
        except (OSError, ValueError, GitError) as error:  # pydantic's error is a ValueError
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.unreadable.append((str(path), first))
            return None

    def attempt(self, paths: AttemptPaths) -> AttemptEvidence:
        return AttemptEvidence(
            request=self.read(paths.folder / "attempt.json", lambda: read_attempt_record(paths)),
            observation=self.read(paths.observation, lambda: _observation(paths)),
            reply_sha256=self.read(paths.reply, lambda: _sha256(paths.reply)),
            begun=_changed(paths.reply),
            ended=_changed(paths.observation),
        )

    def run(self, home: Home, paths: JobPaths, out_dir: Path) -> RunEvidence:
        result = self.read(paths.result, lambda: _result(paths))
        digest = str(result.environment.get("results_sha256")) if result else ""
        blob = home.blob(digest) if _SHA256.fullmatch(digest) else None
        return RunEvidence(
            result=result,
            blob_sha256=self.read(blob, lambda: _sha256(blob)) if blob else None,
            metrics=self.read(paths.final_info, lambda: _kept_metrics(paths)),
            original_sha256=read_results(out_dir, not_before_ns=None).sha256,
            begun=_changed(paths.folder / "spec.json"),
            ended=_changed(paths.result),
        )


def _idea(paths: IdeaPaths) -> Idea | None:
    stored = read_json(paths.record)
    return Idea.model_validate(stored) if stored is not None else None


def _observation(paths: AttemptPaths) -> Observation | None:
    stored = read_json(paths.observation)
    return Observation.model_validate(stored) if stored is not None else None


def _result(paths: JobPaths) -> RunResult | None:
    stored = read_json(paths.result)
    return RunResult.model_validate(stored) if stored is not None else None


def _kept_metrics(paths: JobPaths) -> dict[str, float] | None:
    info = read_json(paths.final_info)
    if info is None:
        return None
    if not isinstance(info, dict):
        raise ValueError("not a JSON object")
    return flat_metrics(info)


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _changed(path: Path) -> str | None:
    try:
        seconds = path.stat().st_mtime
    except OSError:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds")


def _numbered(folder: Path) -> tuple[frozenset[int], tuple[str, ...]]:
    """Folders named by a number, and everything else, as `<folder>/<name>`."""
    numbers, strays = set(), []
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return frozenset(), ()
    for entry in entries:
        plain = (
            entry.name.isascii() and entry.name.isdecimal() and str(int(entry.name)) == entry.name
        )
        if plain and entry.is_dir(follow_symlinks=False):
            numbers.add(int(entry.name))
        else:
            strays.append(f"{folder.name}/{entry.name}")
    return frozenset(numbers), tuple(strays)


# ---------------------------------------------------------------- git


def _run_refs(store: Store, idea: str) -> dict[int, str]:
    """Commit of each run ref."""
    prefix = run_ref(idea, 0)[:-1]
    named = ((ref.removeprefix(prefix), commit) for ref, commit in store.refs(prefix).items())
    return {int(number): commit for number, commit in named if number.isdecimal()}


def _attempt_commits(store: Store, idea: str) -> dict[int, tuple[str, str]]:
    """(commit, tree) of each attempt that is on the idea's branch."""
    head = store.find(branch(idea))
    if head is None:
        return {}
    listing = store.git.read("log", "--first-parent", "--format=%H %T %s", head, "--")
    found: dict[int, tuple[str, str]] = {}
    for line in listing.decode("utf-8", errors="replace").splitlines():
        commit, tree, subject = line.split(" ", 2)
        number = subject.removeprefix("attempt ")
        if number != subject and number.isdecimal():
            found.setdefault(int(number), (commit, tree))
    return found


def _trees(store: Store, commits: Iterable[str]) -> dict[str, str]:
    found = {}
    for commit in commits:
        with contextlib.suppress(GitError):
            found[commit] = store.commit(commit).tree
    return found


def _faults(repository: Repository, account: Account) -> tuple[GitFault, ...]:
    """Where git does not hold what the settled runs were made of."""
    expected = {
        run_ref(account.idea.id, run.number): (run.commit, run.tree)
        for run in account.runs
        if run.state != "reserved"
    }
    try:
        return tuple(repository.verify(expected)) if expected else ()
    except GitError:  # so much is missing that git cannot walk the history: ask for each run
        return tuple(fault for ref in expected for fault in _fault(repository, ref, expected[ref]))


def _fault(repository: Repository, ref: str, expected: tuple[str, str]) -> list[GitFault]:
    try:
        return repository.verify({ref: expected})
    except GitError as error:
        return [GitFault("missing_content", ref, f"{ref}: {error.message}")]
