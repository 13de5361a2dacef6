from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def block(search: str, replace: str) -> str:
    return f"experiment.py\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


@pytest.fixture
def idea(cli: Callable, toy: Path) -> str:
    ended = cli("idea", "new", "--template", str(toy), "--title", "A toy", "--max-runs", "2")
    assert ended.code == 0, ended.stderr
    return ended.stdout.strip()


def test_a_session_from_idea_to_diff(cli: Callable, idea: str, home: Path) -> None:
    baseline = cli("baseline", idea, "--json")
    assert baseline.code == 0, baseline.stderr
    assert baseline.json["schema_version"] == 1
    assert baseline.json["run"]["metrics"] == {"loss": 0.9}
    proposed = cli("propose", idea, "--json", stdin=block("RATE = 0.1", "RATE = 0.3"))
    assert proposed.code == 0, proposed.stderr
    assert proposed.json["accepted"] is True
    assert proposed.json["run"]["comparison"]["metrics"]["loss"]["difference"] == pytest.approx(
        -0.2
    )
    listed = cli("list", "--json").json["ideas"]
    assert [(view["idea"]["id"], view["budget"]["used"]) for view in listed] == [(idea, 1)]
    shown = cli("show", idea, "--json").json
    assert [run["index"] for run in shown["runs"]] == [0, 1]
    one = cli("show", idea, "run_1", "--json").json
    assert one["run"] == proposed.json["run"]
    assert cli("diff", idea, "1").stdout == cli("diff", idea, "1", "--json").json["diff"]
    assert "+RATE = 0.3" in cli("diff", idea, "1", "--against", "baseline").stdout
    messages = cli("messages", idea, "--dialect", "deepseek-reasoner", "--json").json["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    for command in (("list",), ("show", idea), ("show", idea, "1"), ("messages", idea)):
        ended = cli(*command)
        assert ended.code == 0, ended.stderr
        assert ended.stdout.strip()


def test_each_end_has_its_exit_code(cli: Callable, toy: Path, idea: str) -> None:
    refused = cli("propose", idea, stdin=block("RATE = 7", "RATE = 8"))
    assert refused.code == 4
    assert "Nothing was changed" in refused.stdout
    failed = cli("propose", idea, stdin=block("RATE = 0.1", "RATE = 1 / 0"))
    assert failed.code == 3
    assert "ZeroDivisionError" in failed.stdout
    hang = "RATE = 0.1\nimport signal; signal.pause()"
    slow = cli("idea", "new", "--template", str(toy), "--title", "Slow", "--time-limit", "1").stdout
    assert cli("propose", slow.strip(), stdin=block("RATE = 0.1", hang)).code == 6
    assert cli("propose", idea, stdin=block("RATE = 1 / 0", "RATE = 0.2")).code == 0
    exhausted = cli("propose", idea, "--json", stdin=block("RATE = 0.2", "RATE = 0.3"))
    assert exhausted.code == 5
    assert exhausted.json["problems"][0]["kind"] == "budget_exhausted"


@pytest.mark.parametrize(
    "arguments",
    [
        ("propose", "nobody"),
        ("show", "nobody"),
        ("idea", "new", "--title", "x", "--template", "/nowhere"),
        ("idea", "new", "--title", "x", "--plan", "/nowhere"),
        ("propose", "nobody", "--reply", "/nowhere"),
    ],
)
def test_misuse_is_exit_2_with_a_remedy_on_stderr(
    cli: Callable, arguments: tuple[str, ...]
) -> None:
    ended = cli(*arguments, "--json")
    assert (ended.code, ended.stdout) == (2, "")
    error = json.loads(ended.stderr.strip().splitlines()[-1])["error"]
    assert error["message"] and error["remedy"] and error["code"]
    plain = cli(*arguments)
    assert plain.code == 2
    assert "error:" in plain.stderr


def test_a_home_that_cannot_be_made_is_said_plainly(cli: Callable, toy: Path) -> None:
    ended = cli("--home", str(toy / "experiment.py" / "home"), "list", "--json")
    assert (ended.code, ended.stdout) == (1, "")
    assert json.loads(ended.stderr)["error"]["code"] == "machine"


def test_bad_run_numbers_and_dialects_are_usage_errors(cli: Callable, idea: str) -> None:
    assert cli("show", idea, "first").code == 2
    assert cli("diff", idea, "9").code == 2
    assert cli("messages", idea, "--dialect", "klingon").code == 2
    assert cli("frobnicate").code == 2


def test_home_may_stand_before_or_after_the_command(
    cli: Callable, toy: Path, tmp_path: Path
) -> None:
    for number, order in enumerate(
        (("--home", "H", "idea", "new"), ("idea", "new", "--home", "H"))
    ):
        home = str(tmp_path / f"h{number}")
        words = [home if word == "H" else word for word in order]
        assert cli(*words, "--title", "x", "--template", str(toy)).code == 0
        assert (Path(home) / "ideas" / "x" / "idea.json").exists()


def test_replies_are_read_as_they_come(cli: Callable, idea: str, tmp_path: Path) -> None:
    reply = tmp_path / "reply.md"
    reply.write_bytes(
        block("RATE = 0.1", "RATE = 0.4  # \udcff é").encode("utf-8", "surrogateescape")
    )
    ended = cli("propose", idea, "--reply", str(reply), "--json")
    assert ended.json["schema_version"] == 1
    assert ended.code in (0, 3, 4)


def test_an_idempotency_key_answers_again(cli: Callable, idea: str) -> None:
    reply = block("RATE = 0.1", "RATE = 0.4")
    first = cli("propose", idea, "--idempotency-key", "k", "--json", stdin=reply)
    again = cli("propose", idea, "--idempotency-key", "k", "--json", stdin=reply)
    assert first.stdout == again.stdout
    other = cli("propose", idea, "--idempotency-key", "k", "--json", stdin=reply + "more")
    assert other.code == 2


def test_apply_is_a_tool_of_its_own(cli: Callable, toy: Path) -> None:
    before = (toy / "experiment.py").read_text()
    reply = block("RATE = 0.1", "RATE = 0.5")
    dry = cli("apply", "--dir", str(toy), "--dry-run", "--json", "-", stdin=reply)
    assert (dry.code, dry.json["applied"]) == (0, True)
    assert (toy / "experiment.py").read_text() == before
    refused = cli("apply", "--dir", str(toy), "--editable", "other.py", "-", stdin=reply)
    assert refused.code == 4
    assert cli("apply", "--dir", str(toy), "-", stdin=reply).code == 0
    assert "RATE = 0.5" in (toy / "experiment.py").read_text()
    again = cli("apply", "--dir", str(toy), "--json", "-", stdin=reply)
    assert (again.code, again.json["kind"], again.json["problems"][0]["block"]) == (4, "noop", 1)


def test_apply_to_no_folder_is_a_usage_error(cli: Callable, toy: Path) -> None:
    reply = block("RATE = 0.1", "RATE = 0.5")
    for folder in (toy / "nothing", toy / "experiment.py"):
        refused = cli("apply", "--dir", str(folder), "--json", "-", stdin=reply)
        assert refused.code == 2
        assert json.loads(refused.stderr)["error"]["code"] == "usage"


def test_doctor_prints_checks(cli: Callable) -> None:
    checks = cli("doctor", "--json").json["checks"]
    assert {"python", "git", "sqlite", "disk", "gpu"} <= {check["name"] for check in checks}
    assert cli("doctor").stdout.count("\n") >= len(checks)


def test_import_chat_says_what_a_log_holds(cli: Callable) -> None:
    log = ROOT / "tests" / "fixtures" / "chatlogs" / "refused.md"
    recorded = cli("import-chat", str(log), "--json").json["recorded"]
    assert recorded["title"]
    assert recorded["baseline"] == {
        "present": False,
        "problem": None,
        "degenerate": False,
        "findings": [],
    }
    assert recorded["replies"][0]["unchanged_reruns"] == 3
    assert cli("import-chat", str(log)).code == 0
    assert cli("import-chat", str(ROOT / "README.md")).code == 2


def test_help_is_quick_to_load_and_every_command_is_in_the_readme(cli: Callable) -> None:
    ended = cli("--help")
    assert ended.code == 0
    readme = (ROOT / "README.md").read_text()
    commands = {"idea", "baseline", "propose", "list", "show", "diff", "messages"}
    commands |= {"import-chat", "apply", "demo", "doctor"}
    for command in commands:
        assert re.search(rf"\b{command}\b", ended.stdout), command
        assert f"`{command}" in readme, f"{command} is missing from the README"


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys, agent_runner.surfaces.cli.main as m;"
        "heavy = {'sqlalchemy', 'git', 'torch', 'numpy', 'pydantic_settings'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
