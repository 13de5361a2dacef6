"""Which level is chosen, what is remembered of the trials, and what makes them be made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.errors import SandboxUnavailable, UsageError
from agent_runner.execution import bubblewrap, process_tree
from agent_runner.executors import sandboxing
from agent_runner.executors.sandboxing import LEVELS, Sandboxing
from agent_runner.records import LevelReport

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """Stands in for the trials: some levels work. `tried` is what was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.works: set[str] = set(LEVELS)
        self.fails: set[str] = set()
        self.tried: list[str] = []
        monkeypatch.setattr(sandboxing, "_try", self._try)

    def _try(self, level: str) -> LevelReport:
        self.tried.append(level)
        if level in self.fails:
            raise sandboxing.TrialFailed("no space left")
        works = level in self.works
        return LevelReport(
            level=level, works=works, reason="" if works else f"no {level}", digest="d"
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "levels.json"


# ---------------------------------------------------------------- choosing


@pytest.mark.parametrize(
    ("works", "wanted", "least", "chosen"),
    [
        ("L0 L1 L2 L3", "auto", "L0", "L3"),
        ("L0 L1 L2", "auto", "L2", "L2"),
        ("L0 L1", "auto", "L1", "L1"),
        ("L0", "auto", "L0", "L0"),
        ("L0 L1 L2 L3", "L1", "L0", "L1"),
        ("L0 L1 L2 L3", "L0", "L0", "L0"),
        ("L0 L2", "L2", "L2", "L2"),
    ],
)
def test_what_is_chosen(machine: Machine, works: str, wanted: str, least: str, chosen: str) -> None:
    machine.works = set(works.split())
    assert Sandboxing(None).choose(wanted, least) == chosen


@pytest.mark.parametrize(
    ("works", "wanted", "least", "said"),
    [
        ("L0 L1", "L2", "L0", "L2 does not work here: no L2"),
        ("L0 L1 L2", "L3", "L0", "L3 does not work here: no L3"),
        ("L0 L1", "auto", "L2", "L1 is less than L2, which is required"),
        ("L0 L1 L2 L3", "L1", "L2", "L1 is less than L2, which is required"),
        ("L0 L1 L2 L3", "L0", "L1", "L0 is less than L1, which is required"),
        ("L0", "auto", "L3", "no L3"),
        ("", "auto", "L0", "no L0"),
    ],
)
def test_nothing_is_lowered(
    machine: Machine, works: str, wanted: str, least: str, said: str
) -> None:
    machine.works = set(works.split())
    with pytest.raises(SandboxUnavailable) as caught:
        Sandboxing(None).choose(wanted, least)
    assert said in str(caught.value)
    assert "Nothing was run" in str(caught.value.remedy)


def test_a_level_that_is_too_low_is_not_even_tried(machine: Machine) -> None:
    with pytest.raises(SandboxUnavailable):
        Sandboxing(None).choose("L1", "L2")
    assert machine.tried == []


@pytest.mark.parametrize("wanted", ["auto", "L2"])
def test_a_trial_that_could_not_be_carried_out_lowers_nothing(
    machine: Machine, file: Path, wanted: str
) -> None:
    machine.works, machine.fails = {"L0", "L1", "L2"}, {"L2"}
    chooser = Sandboxing(file)
    with pytest.raises(SandboxUnavailable, match="L2 works here could not be tried: no space left"):
        chooser.choose(wanted, "L0")
    assert "L1" not in machine.tried and chooser.choose("L0", "L0") == "L0"
    report = chooser.report("L2")
    assert not report.works and "could not be tried" in report.reason
    reports = {found.level: found.works for found in chooser.reports()}
    assert reports == {"L0": True, "L1": True, "L2": False, "L3": False}
    # Neither the object nor the file keeps it.
    machine.fails.clear()
    assert chooser.choose(wanted, "L0") == Sandboxing(file).choose(wanted, "L0") == "L2"


def test_why_auto_went_no_higher(machine: Machine) -> None:
    machine.works = {"L0"}
    chooser = Sandboxing(None)
    assert chooser.why_not_higher("L0") == ""
    assert chooser.choose("auto", "L0") == "L0"
    said = [f"{level} does not work here: no {level}" for level in LEVELS]
    assert chooser.why_not_higher("L0") == "; ".join(said[1:])
    assert chooser.why_not_higher("L2") == said[3] and chooser.why_not_higher("L3") == ""
    machine.works = set(LEVELS)
    chooser = Sandboxing(None)
    assert chooser.why_not_higher(chooser.choose("auto", "L0")) == ""


@pytest.mark.parametrize("wanted", ["L4", "l2", "", "none"])
def test_levels_that_there_are_not(machine: Machine, wanted: str) -> None:
    with pytest.raises(UsageError, match="there is no sandbox level"):
        Sandboxing(None).choose(wanted, "L0")


# ---------------------------------------------------------------- remembering


def test_a_level_that_works_is_tried_once(machine: Machine, file: Path) -> None:
    for _ in range(2):
        assert Sandboxing(file).choose("auto", "L0") == "L3"
    assert Sandboxing(file).choose("L2", "L0") == "L2"
    assert Sandboxing(file).report("L3").works
    assert machine.tried == ["L3", "L2"]


def test_a_level_that_does_not_work_is_tried_by_each_process(machine: Machine, file: Path) -> None:
    """What it lacked may be there by now; within a process the answer stays."""
    machine.works = {"L0", "L1"}
    sandboxing_ = Sandboxing(file)
    for _ in range(2):
        assert sandboxing_.choose("auto", "L0") == "L1"
    assert machine.tried == ["L3", "L2", "L1"]
    machine.works = set(LEVELS)
    assert Sandboxing(file).choose("auto", "L0") == "L3"


def test_without_a_file_each_object_tries_for_itself(machine: Machine, tmp_path: Path) -> None:
    for _ in range(2):
        Sandboxing(None).report("L2")
    assert machine.tried == ["L2", "L2"] and list(tmp_path.iterdir()) == []


def test_all_levels_are_tried_anew_for_the_doctor(machine: Machine, file: Path) -> None:
    Sandboxing(file).choose("auto", "L0")
    machine.works = {"L0", "L2"}
    machine.tried.clear()
    reports = Sandboxing(file).reports()
    assert [(r.level, r.works) for r in reports] == [
        ("L0", True),
        ("L1", False),
        ("L2", True),
        ("L3", False),
    ]
    assert machine.tried == list(LEVELS)
    # and what no longer works is forgotten
    machine.tried.clear()
    assert Sandboxing(file).choose("auto", "L0") == "L2" and machine.tried == ["L3"]


def other_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process_tree, "boot_id", lambda: "another")


def other_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text("another")
    monkeypatch.setattr(bubblewrap, "_PROGRAMS", (str(tmp_path / "bwrap"),))


def no_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bubblewrap, "_PROGRAMS", ())


def other_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandboxing.seccomp, "program", lambda: b"another")


def other_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)


def other_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandboxing.platform, "release", lambda: "99.0")


@pytest.mark.parametrize(
    "change",
    [other_boot, other_bubblewrap, no_bubblewrap, other_rules, other_user, other_kernel],
)
def test_what_is_remembered_holds_for_one_machine_and_one_profile(
    machine: Machine,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch, Path], None],
) -> None:
    other_bubblewrap(monkeypatch, tmp_path)
    (tmp_path / "bwrap").write_text("the first")
    Sandboxing(file).report("L2")
    Sandboxing(file).report("L2")
    assert machine.tried == ["L2"]
    change(monkeypatch, tmp_path)
    Sandboxing(file).report("L2")
    assert machine.tried == ["L2", "L2"]


@pytest.mark.parametrize("module", ["shutting_in", "landlock", "bubblewrap", "inside", "scratch"])
def test_the_digest_is_of_all_the_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    before = sandboxing._profile()
    changed = tmp_path / "changed.py"
    changed.write_text("# another rule")
    monkeypatch.setattr(getattr(sandboxing, module), "__file__", str(changed))
    assert sandboxing._profile() != before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"machine": KEY}',
        b'{"machine": KEY, "levels": 3}',
        b'{"machine": KEY, "levels": {"L3": {"level": "L3"}}}',
        b'{"machine": KEY, "levels": {"L3": 1}}',
        b'{"machine": "another", "levels": {"L3": {"level": "L3", "works": true}}}',
        b"\xff\x00",
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_no_answer(machine: Machine, file: Path, content: bytes) -> None:
    machine.works = {"L0"}
    key = json.dumps(sandboxing._machine_key()).encode()
    file.write_bytes(content.replace(b"KEY", key))
    assert not Sandboxing(file).report("L3").works and machine.tried == ["L3"]
    machine.works = set(LEVELS)
    assert Sandboxing(file).report("L3").works and Sandboxing(file).report("L3").works
    assert machine.tried == ["L3", "L3"], "it was not written anew"


def test_a_home_that_cannot_be_written_to(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "no folder").touch()
    file = tmp_path / "no folder" / "levels.json"
    for _ in range(2):
        assert Sandboxing(file).choose("auto", "L2") == "L3"
    assert machine.tried == ["L3", "L3"]


def test_first_use_by_eight_processes_at_once(file: Path) -> None:
    """Each gets the same answer, and what is left is a file that holds."""
    code = (
        "import sys; from pathlib import Path\n"
        "from agent_runner.executors.sandboxing import Sandboxing\n"
        "sys.stdin.read(1)\n"
        "print(Sandboxing(Path(sys.argv[1])).choose('auto', 'L0'))"
    )
    command = [sys.executable, "-c", code, str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(8)
    ]
    answers = set()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    for process in started:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        answers.add(out.strip())
    assert len(answers) == 1
    (best,) = answers
    stored = json.loads(file.read_text())
    assert stored["machine"] == sandboxing._machine_key() and stored["levels"][best]["works"]
    assert list(file.parent.glob("*")) == [file]
