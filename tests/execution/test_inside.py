"""The first program of a sandbox, here without one: what it waits for, and what it says of the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_runner.execution import bubblewrap, inside

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM)
# It keeps them to itself, and `make` has them ignored in what it starts.
OF_THE_C_LIBRARY = {32, 33}
STATE = """
import json, os, resource, signal
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "environment": dict(os.environ),
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "open": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{n}")),
    "ignored": int(status["SigIgn"], 16),
    "blocked": int(status["SigBlk"], 16),
    "processes": resource.getrlimit(resource.RLIMIT_NPROC),
    "umask": os.umask(0),
}))
try:
    os.setresuid(0, 0, 0)
except OSError as error:
    print(error.errno)
else:
    print("came back" if os.environ.get("was_changed") else 1)
"""


class Inside:
    """A waiting `inside`."""

    def __init__(
        self,
        folder: Path,
        *program: str,
        user: int = 0,
        processes: int = 0,
        environment: bytes = b"",
    ) -> None:
        barrier, self.barrier = os.pipe()
        self._status, status = os.pipe()
        block = bubblewrap.memory_file("environment", environment)
        ends = (barrier, status, block)
        numbers = map(str, (*ends, user, processes))
        command = [sys.executable, "-I", "-S", inside.__file__, *numbers, str(folder), *program]
        self.process = subprocess.Popen(
            command,
            pass_fds=ends,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            extra_groups=[1, 2] if user else None,
        )
        for end in ends:
            os.close(end)

    def let_go(self, word: bytes = b"go\n") -> list[str]:
        """Say the word; returns what was said on the status pipe."""
        os.write(self.barrier, word)
        return self.lines()

    def lines(self) -> list[str]:
        """Close the barrier, and wait for the end."""
        os.close(self.barrier)
        with open(self._status) as file:
            lines = file.read().splitlines()
        self.output = self.process.communicate(timeout=60)
        return lines

    def end(self) -> tuple[int, str, str]:
        return self.process.returncode, *self.output


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Path]:
    """Where a program leaves a trace of having run."""
    yield tmp_path / "ran"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


@pytest.mark.parametrize("word", [b"", b"no\n", b"go", b"go\n\n", b"GO\n", b"g"])
def test_anything_but_the_word_starts_nothing(tmp_path: Path, marks: Path, word: bytes) -> None:
    started = Inside(tmp_path, *python(f"open({str(marks)!r}, 'w')"))
    assert started.let_go(word) == ["ready"]
    assert started.end() == (125, "", "") and not marks.exists()


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 137, 255])
def test_exit_codes(tmp_path: Path, code: int) -> None:
    started = Inside(tmp_path, *python(f"import os; os._exit({code})"))
    *lines, last = started.let_go()
    assert lines == ["ready", "started"]
    assert os.waitstatus_to_exitcode(int(last.removeprefix("ended "))) == code
    assert started.end()[0] == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_signals(tmp_path: Path, number: signal.Signals) -> None:
    started = Inside(tmp_path, *python(f"import os; os.kill(os.getpid(), {int(number)})"))
    last = started.let_go()[-1]
    assert os.waitstatus_to_exitcode(int(last.removeprefix("ended "))) == -number


def test_programs_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for program, why in (
        ("/no/such/program", "No such file or directory"),
        ("no-such-program\nat all", "No such file or directory"),
        ("./text", "Permission denied"),
        (str(tmp_path), "Permission denied"),
        ("no-\udcff-text", "No such file or directory"),
    ):
        started = Inside(tmp_path, program, environment=b"PATH=/usr/bin:/bin")
        said = started.let_go()
        assert said[0] == "ready" and len(said) == 2
        assert said[1].startswith("problem cannot start the program ") and said[1].endswith(why)
        assert started.end() == (125, "", "")


def test_a_working_directory_that_is_not_there(tmp_path: Path, marks: Path) -> None:
    started = Inside(tmp_path / "none", *python(f"open({str(marks)!r}, 'w')"))
    (said,) = started.lines()
    assert said.startswith("problem cannot prepare the process: ") and "No such file" in said
    assert started.end() == (125, "", "") and not marks.exists()


def test_what_the_program_gets(tmp_path: Path) -> None:
    environment = b"PATH=/usr/bin:/bin\0LC_ALL=C.UTF-8\0EMPTY=\0LINES=a\nb=c\0ODD=\xff"
    started = Inside(tmp_path, *python(STATE), processes=4096, environment=environment)
    assert started.let_go()[1] == "started"
    state = json.loads(started.end()[1].splitlines()[0])
    assert state["environment"] == {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "EMPTY": "",
        "LINES": "a\nb=c",
        "ODD": "\udcff",
    }
    assert state["open"] == [0, 1, 2]
    # Python itself ignores these two; all else is as a program expects to find it.
    own = {signal.SIGPIPE, signal.SIGXFSZ}
    assert {n for n in range(1, 65) if state["ignored"] >> (n - 1) & 1} - OF_THE_C_LIBRARY == own
    assert state["blocked"] == 0 and state["processes"][0] <= 4096


def test_signals_are_default_for_what_does_not_change_them(tmp_path: Path) -> None:
    started = Inside(tmp_path, "/bin/grep", "SigIgn", "/proc/self/status")
    started.let_go()
    _, ignored = started.end()[1].split()
    assert {n for n in range(1, 65) if int(ignored, 16) >> (n - 1) & 1} <= OF_THE_C_LIBRARY


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_for_good() -> None:
    folder = Path("/")
    user = bubblewrap.own_user()
    assert user is not None
    code = f"import os; os.environ['was_changed'] = 'yes'; exec({STATE!r})"
    # /usr/bin/python3 where there is one: that user cannot pass through the folders above ours
    command = ("/usr/bin/python3", "-I", "-S", "-c", code)
    if not os.path.exists(command[0]):
        pytest.skip("no Python that every user may start")
    started = Inside(folder, *command, user=user, processes=7)
    started.let_go()
    _, out, err = started.end()
    state, back = out.splitlines()
    assert back == "1", err
    found = json.loads(state)
    assert found["ids"] == [[user] * 3, [user] * 3, []]
    assert found["processes"] == [7, 7] and found["umask"] == 0o022


def test_stops_and_signals_do_not_end_it(tmp_path: Path) -> None:
    """The signals that end a job are not meant for it: it must live to tell how the job ended."""
    code = "import sys, time; print('up', flush=True); time.sleep(1000)"
    started = Inside(tmp_path, *python(code))
    os.write(started.barrier, b"go\n")
    assert started.process.stdout is not None and started.process.stdout.readline() == "up\n"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        started.process.send_signal(number)
    (child,) = (
        Path(f"/proc/{started.process.pid}/task/{started.process.pid}/children").read_text().split()
    )
    os.kill(int(child), signal.SIGKILL)
    assert started.lines()[-1] == f"ended {int(signal.SIGKILL)}"
    assert started.end()[0] == 0
