"""The ground on which programs run: a home of the runner with secrets planted in and around it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import host
from .network import Listeners

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REPLY = (
    "experiment.py\n<<<<<<< SEARCH\nVARIANT = {old}\n=======\nVARIANT = {new}\n>>>>>>> REPLACE\n"
)
VICTIM = """\
import argparse, json, os
VARIANT = 0
parser = argparse.ArgumentParser()
parser.add_argument("--out_dir")
out = parser.parse_args().out_dir
os.makedirs(out, exist_ok=True)
print("SECRET")
json.dump({"metrics": {"score": 1.0 + VARIANT}}, open(out + "/final_info.json", "w"))
"""
HUNG_AFTER_S = 45.0
TOKENS = (".cache/huggingface/token", ".ssh/id_rsa", ".netrc", ".aws/credentials")


@dataclass(frozen=True)
class Ended:
    """A finished command of the runner."""

    words: list[str]
    code: int | None  # None: it hung and was killed
    stdout: str
    stderr: str

    def document(self) -> Any:
        """Its one JSON document, strictly: no NaN, nothing after it."""

        def refuse(constant: str) -> None:
            raise ValueError(f"{constant} in the answer")

        return json.loads(self.stdout, parse_constant=refuse)


def secret(kind: str) -> str:
    """A string that occurs nowhere else: programs look for the pattern, the test for the string itself."""
    return f"hs-{kind}-{secrets.token_hex(8)}"


class Ground:
    """One runner's home, one user's home, files of nobody's run, and a process that holds secrets."""

    def __init__(self, base: Path, listeners: Listeners) -> None:
        self.base, self.listeners = base, listeners
        self.home, self.user, self.outside = base / "home", base / "user", base / "outside"
        self.planted, self.mountpoint = base / "planted", base / "outside" / "mountpoint"
        self.private = base / "private.key"
        self.key_name = f"hostile-{secrets.token_hex(4)}"
        self.canary_name = f"canary-{secrets.token_hex(4)}"  # on no other command line
        kinds = ("env", "aws", "openai", "token", "file", "canary", "victim", "key")
        self.secrets = {kind: secret(kind) for kind in kinds}
        self._canary: subprocess.Popen[str] | None = None
        self.canary_at: dict[str, int] = {}
        base.mkdir(parents=True)
        self.plant()
        self._server = self._start_server()
        self._victim()

    # What is planted

    def plant(self) -> None:
        """Put everything outside into its first state (again, when a run changed it)."""
        for folder in (self.outside, self.planted, self.user, self.home / "cache"):
            if folder.exists() and folder != self.home / "cache":
                subprocess.run(["rm", "-rf", "--", str(folder)], check=True)
            folder.mkdir(parents=True, exist_ok=True)
        self.mountpoint.mkdir(exist_ok=True)
        for name in ("canary.txt", "canary2.txt", "canary3.txt"):
            (self.outside / name).write_text(f"canary {self.secrets['file']}\n")
        (self.planted / "final_info.json").write_text('{"metrics": {"score": 777.0}}')
        for name in TOKENS:
            path = self.user / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{self.secrets['token']}\n")
            path.chmod(0o600)
        self.private.write_text(self.secrets["file"])
        self.private.chmod(0o600)
        (self.home / "cache" / "canary.bin").write_text("cached")

    def canary(self) -> subprocess.Popen[str]:
        """The process that stands for the server; a new one when the last one was hurt."""
        if self._canary is None or self.canary_harm():
            self.end_canary()
            environment = {**self.environment(), "CANARY_SECRET": self.secrets["canary"]}
            words = [
                sys.executable,
                "-I",
                "-S",
                str(HERE / "canary.py"),
                str(self.base),
                self.key_name,
            ]
            self._canary = subprocess.Popen(
                words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self._canary.stdout is not None
            self.canary_at = json.loads(self._canary.stdout.readline())
        return self._canary

    def canary_harm(self) -> list[str]:
        """What was done to the canary: its life, state, memory, priority, limits."""
        if self._canary is None:
            return []
        pid = self._canary.pid
        if self._canary.poll() is not None:
            return [f"the canary was ended: {self._canary.returncode}"]
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        harm = [f"the canary is in state {status[0]}"] if status[0] in "Tt" else []
        if os.getpriority(os.PRIO_PROCESS, pid) != os.getpriority(os.PRIO_PROCESS, 0):
            harm.append("the canary's priority was changed")
        if os.sched_getaffinity(pid) != os.sched_getaffinity(0):
            harm.append("the canary's processors were changed")
        limits = Path(f"/proc/{pid}/limits").read_text()
        if limits != Path("/proc/self/limits").read_text():
            harm.append("the canary's limits were changed")
        with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb") as memory:
            memory.seek(self.canary_at["address"])
            if memory.read(8) != self.secrets["canary"].encode()[:8]:
                harm.append("the canary's memory was changed")
        return harm

    def end_canary(self) -> None:
        """End the canary, whatever its state is."""
        if self._canary is not None:
            with contextlib.suppress(ProcessLookupError):
                self._canary.kill()
            self._canary.communicate()
            self._canary = None

    def environment(self) -> dict[str, str]:
        """The server's environment: small, and full of secrets."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.user),
            "LANG": "C.UTF-8",
            "AGENT_RUNNER_HOME": str(self.home),
            "HF_TOKEN": self.secrets["env"],
            "OPENAI_API_KEY": self.secrets["openai"],
            "AWS_SECRET_ACCESS_KEY": self.secrets["aws"],
        }

    # The command line

    def _start_server(self) -> subprocess.Popen[str]:
        words = [
            sys.executable,
            str(HERE / "cli_server.py"),
            str(ROOT),
            self.key_name,
            self.secrets["key"],
        ]
        server = subprocess.Popen(
            words, env=self.environment(), cwd=self.base, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["ready"]
        return server

    def run(self, *words: str, alone: bool = False) -> Ended:
        """One command of the runner; `alone` as a newly started interpreter, else from the warm one."""
        stdout, stderr = self.base / "stdout", self.base / "stderr"
        code = None
        if alone:
            with open(stdout, "wb") as out, open(stderr, "wb") as err:
                command = [sys.executable, "-m", "agent_runner", *words]
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = subprocess.run(
                        command, env=self.environment(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                        stderr=err, start_new_session=True, timeout=HUNG_AFTER_S,
                    ).returncode  # fmt: skip
        else:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            request = {
                "words": list(words),
                "stdout": str(stdout),
                "stderr": str(stderr),
                "seconds": HUNG_AFTER_S,
            }
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            code = json.loads(self._server.stdout.readline())["code"]
        texts = [path.read_bytes().decode("utf-8", "strict") for path in (stdout, stderr)]
        return Ended(list(words), code, *texts)

    def checked(self, *words: str) -> Any:
        """A command that has to work: its document."""
        ended = self.run(*words)
        assert ended.code == 0, (words, ended.code, ended.stdout[-2000:], ended.stderr[-2000:])
        return ended.document()

    def propose(self, idea: str, old: int, new: int, alone: bool = False) -> Ended:
        """The edit that turns one variant into the next, as an agent's reply."""
        reply = self.base / "reply.md"
        reply.write_text(REPLY.format(old=old, new=new))
        return self.run("propose", idea, "--reply", str(reply), "--json", alone=alone)

    def _victim(self) -> None:
        """Another idea in the same home: a plan, a conversation and a run, with a secret in each."""
        template = self.base / "victim"
        template.mkdir()
        (template / "experiment.py").write_text(VICTIM.replace("SECRET", self.secrets["victim"]))
        (self.base / "plan.md").write_text(f"The plan is {self.secrets['victim']}.")
        words = [
            "--title",
            "victim",
            "--template",
            str(template),
            "--plan",
            str(self.base / "plan.md"),
            "--json",
        ]
        self.checked("idea", "new", *words, "--sandbox", "L0")
        self.checked("baseline", "victim", "--json")
        ended = self.propose("victim", 0, 1)
        assert ended.code == 0, ended.stdout

    # What a program is told

    def targets(self, mark: str, idea: str, template: Path) -> dict[str, Any]:
        """Where everything is: an attacker who knows the machine."""
        canary = self.canary()
        files = [self.private, *(self.user / name for name in TOKENS)]
        return {
            "mark": mark, "idea": idea, "home": str(self.home), "fake_home": str(self.user),
            "outside": str(self.outside), "planted": str(self.planted), "mountpoint": str(self.mountpoint),
            "private_file": str(self.private), "private_handle": file_handle(self.private).hex(),
            "secret_files": [str(path) for path in files], "template": str(template),
            "canary_pid": canary.pid, "canary_address": self.canary_at["address"],
            "canary_fd": self.canary_at["fd"], "canary_name": self.canary_name, "key_name": self.key_name,
            "server_uid": os.getuid(), "tcp_port": self.listeners.tcp_port, "udp_port": self.listeners.udp_port,
            "unix_stream": self.listeners.unix_stream, "unix_datagram": self.listeners.unix_datagram,
            "abstract": self.listeners.abstract, "vsock_port": self.listeners.vsock_port,
            "host_net": os.readlink("/proc/self/ns/net"), "host_mnt": os.readlink("/proc/self/ns/mnt"),
        }  # fmt: skip

    def template(self, case: str, mark: str, idea: str) -> Path:
        """A copy of the case's folder with the kit and its targets beside it."""
        folder = self.base / "templates" / idea
        shutil.copytree(
            HERE / "programs" / case, folder, ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(HERE / "kit.py", folder / "kit.py")
        (folder / "targets.json").write_text(json.dumps(self.targets(mark, idea, folder), indent=1))
        return folder

    def close(self) -> None:
        """End what was started here, and remove all files: nested 2,000 deep, some of them without rights."""
        self.end_canary()
        if self._server.stdin is not None:
            self._server.stdin.close()
        self._server.wait()
        if self._server.stdout is not None:
            self._server.stdout.close()
        self.unmount()
        subprocess.run(["rm", "-rf", "--", str(self.base)], check=False)

    def unmount(self) -> bool:
        """Whether a run had mounted something outside; it is unmounted."""
        found = False
        while host.mounted(self.mountpoint):
            found = True
            subprocess.run(["umount", "--lazy", str(self.mountpoint)], check=True)
        return found


def file_handle(path: Path) -> bytes:
    """What `open_by_handle_at` needs, as name_to_handle_at(2) gives it; b"" where it is not supported."""
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer((128).to_bytes(4, sys.byteorder), 136)
    mount = ctypes.c_int()
    if libc.name_to_handle_at(-100, os.fsencode(path), room, ctypes.byref(mount), 0) < 0:
        return b""
    return room.raw
