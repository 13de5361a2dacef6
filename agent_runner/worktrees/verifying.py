"""Does the repository hold what the ledger says it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent_runner.worktrees.store import Store


@dataclass(frozen=True)
class GitFault:
    """Something that the repository should hold and does not.

    kind: `missing_commit`, `missing_content` (of a commit that is there), `other_tree`, `missing_ref` or
        `other_ref`.
    """

    kind: str
    ref: str
    message: str


def verify(store: Store, expected: Mapping[str, tuple[str, str]]) -> list[GitFault]:
    """Compare refs with what they should stand for.

    expected: by the ref's name, its commit and that commit's tree.
    """
    faults: list[GitFault] = []
    refs = store.refs("refs/")
    found = _trees(store, [commit for commit, _ in expected.values()])
    present = [commit for commit, _ in expected.values() if commit in found]
    incomplete = _incomplete(store, present)
    for ref, (commit, tree) in expected.items():
        if commit not in found:
            faults.append(GitFault("missing_commit", ref, f"{ref}: there is no commit {commit}"))
        elif found[commit] != tree:
            message = f"{ref}: the commit {commit} has the tree {found[commit]}, not {tree}"
            faults.append(GitFault("other_tree", ref, message))
        elif incomplete and (lost := _incomplete(store, [commit])):
            message = f"{ref}: of the commit {commit}, {len(lost)} objects are missing ({lost[0]})"
            faults.append(GitFault("missing_content", ref, message))
        if ref not in refs:
            faults.append(GitFault("missing_ref", ref, f"{ref} is missing; it should be {commit}"))
        elif refs[ref] != commit:
            message = f"{ref} is at {refs[ref]}, and should be at {commit}"
            faults.append(GitFault("other_ref", ref, message))
    return faults


def _trees(store: Store, commits: list[str]) -> dict[str, str]:
    """The tree of each commit that is there."""
    asked = "".join(f"{commit}^{{tree}}\n" for commit in commits).encode()
    output = store.git.read("cat-file", "--batch-check", stdin=asked).decode()
    answers = zip(commits, output.splitlines(), strict=True)
    return {commit: line.split()[0] for commit, line in answers if " tree " in line}


def _incomplete(store: Store, commits: list[str]) -> list[str]:
    """Objects of these commits and their ancestors that are not there."""
    if not commits:
        return []
    options = ("rev-list", "--objects", "--missing=print", "--stdin")
    output = store.git.read(*options, stdin="\n".join(commits).encode())
    return [line[1:] for line in output.decode(errors="replace").splitlines() if line[:1] == "?"]
