"""The one call of git: with an environment and settings of our own, and for a minute at most.

Git is only ever given the bare repository; no git process of ours opens a file below a worktree, where runs
write. What is left to plant is the repository's own configuration (a run at L0 can write anywhere), so that is
compared with what it has to be before every call.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from agent_runner.errors import GitError
from agent_runner.paths import write_atomic
from agent_runner.worktrees.files import plain_bytes

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "core.fsync=reference",  # objects are written, and synced, by `objects`
    "safe.directory=*",
    "safe.bareRepository=explicit",
    "protocol.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "diff.external=",
    "credential.helper=",
)
_CONFIGURATION = tuple(word for setting in _SETTINGS for word in ("-c", setting))
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# All that reaches git of the server's own environment: what it takes to find and load the program.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")

# Above any .gitattributes of a template or an edit: no conversion, no filter, no driver.
_ATTRIBUTES = b"* -text -filter -ident -working-tree-encoding !eol !diff !merge\n"
_FIXED = {
    "HEAD": b"ref: refs/heads/main\n",
    "config": b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n",
    "info/attributes": _ATTRIBUTES,
}
# Each of these would take a repository's settings, objects or history from somewhere else.
_FORBIDDEN = (
    *("commondir", "config.worktree", "shallow", "info/grafts"),
    *("objects/info/alternates", "objects/info/http-alternates"),
)
_FOLDERS = ("info", "objects/info", "objects/pack", "refs/heads", "refs/tags", "worktrees")
_STALE_LOCK = ".lock': File exists"


class Git:
    """Calls of git on one bare repository."""

    timeout_s = 60.0

    def __init__(self, git_dir: Path) -> None:
        self.git_dir = git_dir

    def ensure(self) -> None:
        """Create the repository; repeatable, also after a kill or a power cut at any point."""
        for name in _FOLDERS:
            (self.git_dir / name).mkdir(parents=True, exist_ok=True)
        self._settle()

    def read(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """The output of a git command that changes nothing.

        Raises:
            GitError: git is missing, failed, or did not end in time.
        """
        return self._run(arguments, stdin, None)

    def write(self, lock: int, *arguments: str, stdin: bytes = b"") -> bytes:
        """The same of a command that changes something, by the holder of the repository's lock.

        lock: its descriptor. Git inherits it: should we be killed, the lock stays taken until git has ended,
            too. So a lock file of git's own that stands in the way is one that a killed git left behind.
        """
        try:
            return self._run(arguments, stdin, lock)
        except GitError as error:
            if _STALE_LOCK not in error.message:
                raise
            remove_lock_files(self.git_dir)
            return self._run(arguments, stdin, lock)

    # ------------------------------------------------------------ the process

    def _run(self, arguments: tuple[str, ...], stdin: bytes, lock: int | None) -> bytes:
        self._settle()
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            process = subprocess.Popen(
                [_program(), *_CONFIGURATION, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.git_dir,
                env={**inherited, **_ENVIRONMENT, "GIT_DIR": str(self.git_dir)},
                pass_fds=() if lock is None else (lock,),
                process_group=0,  # so that a kill reaches git's own children
            )
        except OSError as error:
            raise self._failure(arguments[0], f"it could not be started: {error}") from error
        with process, _killed_on_error(process):
            try:
                output, complaint = process.communicate(stdin, self.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise self._failure(
                    arguments[0],
                    f"it had not ended after {self.timeout_s:g} s and was killed; a pipe or a device in place "
                    "of one of the repository's files, or a disk that does not answer, can be the cause",
                ) from error
        if process.returncode:
            reason = complaint.decode("utf-8", errors="replace").strip()
            raise self._failure(arguments[0], reason or f"exit status {process.returncode}")
        return output

    def _failure(self, command: str, reason: str) -> GitError:
        return GitError(
            f"git {command} failed: {reason}",
            f"Run `agent-runner doctor`. The repository is {self.git_dir}.",
        )

    # ------------------------------------------------------------ the repository's own settings

    def _settle(self) -> None:
        """Put back whatever is not as this class has made it; what stood there is kept beside it."""
        for name in _FORBIDDEN:
            if os.path.lexists(self.git_dir / name):
                _set_aside(self.git_dir / name)
        for name, content in _FIXED.items():
            path = self.git_dir / name
            if plain_bytes(path) == content:
                continue
            if os.path.lexists(path):
                _set_aside(path)
            write_atomic(path, content)


def remove_lock_files(git_dir: Path) -> list[Path]:
    """Remove every lock file that a killed git left behind. For the holder of the repository's lock only."""
    removed = []
    for base, folders, files in os.walk(git_dir):
        if Path(base) == git_dir:
            folders[:] = [name for name in folders if name != "objects"]
        # `locked`, which keeps a worktree's entry from being pruned, is not one.
        for name in files:
            if name.endswith(".lock"):
                path = Path(base) / name
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed


def _program() -> str:
    found = shutil.which("git")
    if found is None:
        raise GitError("git was not found", "Install git 2.31 or newer.")
    return found


@contextlib.contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """No git goes on that nobody waits for: not after the time is up, and not after an interrupt."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


def _set_aside(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # another process was first
        path.rename(path.with_name(f"{path.name}.before-{time.time_ns()}"))
