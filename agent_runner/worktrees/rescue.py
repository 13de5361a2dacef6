"""A branch whose ref was lost, made again from the refs of its attempts and runs."""

from __future__ import annotations

import os

from agent_runner.errors import GitError
from agent_runner.worktrees.layout import set_aside
from agent_runner.worktrees.store import Store, attempt_ref, branch, run_ref

UNMOVED = "Branch: unmoved"  # a trailer of commits that the branch did not move to


def rescue(store: Store, lock: int, idea: str, base: str | None) -> str:
    """Point an idea's branch at its last commit again, or at `base` where there is none; returns that.

    Raises:
        GitError: nothing is known of this idea.
    """
    commit = _last(store, idea) or base
    if commit is None:
        raise GitError(
            f"there is no branch of {idea!r} in {store.git_dir}, and no attempt or run of it",
            "Restore the home from a copy; `agent-runner ledger check` lists what is missing.",
        )
    broken = store.git_dir / branch(idea)
    if os.path.lexists(broken):
        # Below refs/ git would take it for another ref.
        set_aside(broken.rename(store.git_dir / f"broken-ref-{idea}"))
    store.set_refs(lock, {branch(idea): commit}, {})
    return commit


def _last(store: Store, idea: str) -> str | None:
    """The commit the branch stood at after its newest attempt."""
    interrupted = store.refs(f"refs/interrupted/{idea}/").values()
    attempts = store.refs(attempt_ref(idea, 0).removesuffix("0"))
    newest = max(attempts, key=lambda ref: int(ref.rpartition("/")[2]), default=None)
    if newest is None:
        return store.find(run_ref(idea, 0))
    commit = store.commit(attempts[newest])
    if attempts[newest] in interrupted or UNMOVED in commit.message.splitlines():
        return commit.parents[0]
    return attempts[newest]
