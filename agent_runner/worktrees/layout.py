"""The folder of an idea and git's entry for it: made, looked at, and made again where something is broken.

By hand and not by `git worktree add`, which cannot be repeated after it was killed half way, and which takes
another name for its entry when the first is taken. The entry is as in gitrepository-layout(5).
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from agent_runner.paths import write_atomic
from agent_runner.worktrees.files import plain_bytes
from agent_runner.worktrees.objects import Entry, encode_index


class Layout:
    """Where the worktree of one idea is, and what makes it one."""

    def __init__(self, git_dir: Path, worktrees: Path, idea: str) -> None:
        self.idea = idea
        self.folder = worktrees / idea
        self.entry = git_dir / "worktrees" / idea
        self.index = self.entry / "index"
        # Relative, so that a home can be moved; and the same from an entry to its repository.
        self._pointer = self.folder / ".git"
        self._fixed = {
            self._pointer: b"gitdir: %s\n" % os.fsencode(os.path.relpath(self.entry, self.folder)),
            self.entry / "HEAD": f"ref: refs/heads/ideas/{idea}\n".encode(),
            self.entry / "commondir": b"../..\n",
            self.entry / "gitdir": b"%s\n" % os.fsencode(self._pointer),
            self.entry / "locked": b"agent_runner\n",  # `git worktree prune` leaves it alone
        }

    def complete(self) -> bool:
        """Whether nothing is missing, and nothing else stands in its place. The index is made last."""
        if not (self.laid_out() and _is_folder(self.entry)):
            return False
        return all(plain_bytes(path) == content for path, content in self._fixed.items())

    def laid_out(self) -> bool:
        """Whether the committed files were put into the folder once, and the folder is still there."""
        return _is_folder(self.folder) and _is_file(self.index)

    def mend(self) -> list[str]:
        """Make what is missing and set aside what is wrong; returns what was done, in words."""
        done = []
        if not self.laid_out() and _is_file(self.index):
            self.index.unlink()  # should we be killed, it is seen that not every file was put there
        for folder in (self.entry, self.folder):
            if os.path.lexists(folder) and not _is_folder(folder):
                done.append(f"{folder.name} was no folder and was kept as {set_aside(folder).name}")
            if not os.path.lexists(folder):
                folder.mkdir(parents=True)
                done.append(f"the folder {folder.name} was made")
            elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                folder.chmod(0o700)
                done.append(
                    f"the folder {folder.name} could not be used and got its permissions back"
                )
        for path, content in self._fixed.items():
            found = plain_bytes(path)
            if found == content:
                continue
            if os.path.lexists(path) and not self._is_older(path, found):
                done.append(f"{path.name} had been changed and was kept as {set_aside(path).name}")
            elif not os.path.lexists(path) and path == self._pointer:
                done.append(f"{path.name} was made")
            write_atomic(path, content)
        return done

    def _is_older(self, path: Path, found: bytes | None) -> bool:
        """Whether this is what `git worktree add`, or a home at another place, has written: no evidence."""
        ends = {
            self._pointer: f"/worktrees/{self.idea}\n",
            self.entry / "gitdir": f"/{self.idea}/.git\n",
        }
        return path in ends and found is not None and found.endswith(ends[path].encode())

    def remove(self) -> None:
        """Remove folder and entry. What has taken the folder's place, a link say, is only renamed."""
        if os.path.lexists(self.folder) and not _is_folder(self.folder):
            set_aside(self.folder)
        for folder in (self.folder, self.entry):
            shutil.rmtree(folder, ignore_errors=True)

    def write_index(self, files: Mapping[str, Entry]) -> None:
        """Tell git what is committed. Only people's own `git status` asks the index; nothing of ours does."""
        if os.path.lexists(self.index) and not _is_file(self.index):
            set_aside(self.index)
        aside = self.index.with_name(".index.new")
        aside.write_bytes(encode_index(files))
        aside.replace(self.index)


def set_aside(path: Path) -> Path:
    """Give what bears a name another one beside it: it is evidence."""
    return path.rename(path.with_name(f"{path.name}.before-{time.time_ns()}"))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
