"""Servers that are killed at random moments while several ideas are worked on in one home."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from fault_homes import Model, check_home, create, propose, reply, write_template
from fault_processes import Server, call

from agent_runner.records import Observation, Outcome

_SHORTEST_S, _LONGEST_S = 0.02, 1.0


@dataclass
class _Client:
    """An agent that repeats a request under its key until it has an answer."""

    model: Model
    moments: random.Random
    server: Server | None = None
    until: float = 0.0

    @property
    def text(self) -> str:
        return reply(self.model.value, self.model.value + 1)

    @property
    def key(self) -> str:
        return f"edit {self.model.value + 1}"

    def step(self) -> int:
        """Start, kill, or take the answer. Returns how many servers were killed."""
        if self.server is None:
            self._send()
        elif not self.server.alive():
            self.take(self.server.result())
        elif time.monotonic() > self.until:
            self.server.kill()
            self.server = None
            return 1
        return 0

    def finish(self) -> None:
        """Let the request that is under way, or was cut off, come to its answer."""
        if self.server is None:
            self._send()
        assert self.server is not None
        self.take(self.server.result())

    def _send(self) -> None:
        model = self.model
        self.server = Server(propose, model.home, model.idea, self.text, self.key)
        self.until = time.monotonic() + self.moments.uniform(_SHORTEST_S, _LONGEST_S)

    def take(self, observation: Observation) -> None:
        self.server = None
        text = self.text
        self.model.replies.append(text)
        self.model.value += 1
        run = observation.run
        assert run is not None, observation.message
        if run.outcome is Outcome.NOT_STARTED:
            assert not observation.budget.charged
            return
        assert run.metrics == {"loss": float(self.model.value)}, observation.message
        self.model.ran[self.model.value] += 1


def storm(folder: Path, *, seconds: float, ideas: int, seed: int = 11) -> tuple[int, list[str]]:
    """Kill servers at random for some time. Returns how many, and what was wrong in the end."""
    home, template = folder / "home", folder / "toy"
    if not template.exists():
        write_template(template)
    moments = random.Random(seed)
    titles = [f"Storm {number}" for number in range(ideas)]
    clients = [
        _Client(Model(home, call(create, home, template, title, 100_000)), moments)
        for title in titles
    ]
    kills, failures = 0, []
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            kills += sum(client.step() for client in clients)
            time.sleep(0.005)
        for client in clients:
            client.finish()
            client.model.check()
        check_home(home)
    except Exception as error:  # whatever it was, it is reported, and the servers are ended
        failures.append(f"{error}")
    for client in clients:
        if client.server is not None:
            client.server.kill()
    return kills, failures
