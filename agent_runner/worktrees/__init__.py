"""Git: one bare repository per home, one branch and worktree per idea. The only caller of git.

Git keeps the history; the files of a worktree are read and written by ourselves (`files`, `objects`), so that
no git process ever opens what a run could have planted there.
"""

from agent_runner.worktrees.collecting import Unreachable
from agent_runner.worktrees.repository import Repository
from agent_runner.worktrees.store import attempt_ref, run_ref
from agent_runner.worktrees.verifying import GitFault

__all__ = ["GitFault", "Repository", "Unreachable", "attempt_ref", "run_ref"]
