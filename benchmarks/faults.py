"""Faults for as long as wanted: the rounds of tests/faults, many times over, and kills at random moments.

    .venv/bin/python benchmarks/faults.py [--rounds 100] [--only points,random,pids,power,errors,floods]
        [--seconds 60] [--point NAME]

Each part compares the home with a model that this process keeps. Prints a line per part and point: how many
rounds, how many of them failed, and of the first failure why. Exit code 1 where any failed. Power cuts need
root and ext4; errors need strace. `--seconds` is how long servers are killed at random.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))

import crash_rounds
import flooding
import io_rounds
import killing
import loop_mounts
import power
import random_kills
import syscall_faults
from fault_homes import Model, check_home, create, propose, reply, write_template
from fault_processes import Server, call
from points import POINTS, Point

from agent_runner.records import Outcome

Part = Callable[[Path, argparse.Namespace], Iterator[tuple[str, int, list[str]]]]


def tried(rounds: int, once: Callable[[int], object]) -> tuple[int, list[str]]:
    """Do it so many times; returns how often, and what went wrong. A model that is off is not used on."""
    failures = []
    for number in range(rounds):
        try:
            once(number)
        except Exception as error:  # a benchmark of faults reports any, and goes on with the next
            failures.append(f"round {number}: {error or type(error).__name__}")
            return number + 1, failures
    return rounds, failures


def points(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Row 1 of the fault plan: the server is killed at a named point."""
    home = folder / "home"
    for name, point in POINTS.items():
        if options.point not in (None, name):
            continue
        for way in (crash_rounds.repeat_after_crash, crash_rounds.go_on_after_crash):
            title = f"{way.__name__} {name}"
            model = Model(home, call(create, home, folder / "toy", title, 3 * options.rounds))
            once = partial(_crash, way, model, point)
            yield title, *tried(max(1, options.rounds // 2), once)
    yield "what is left in the home", *tried(1, lambda _: check_home(home))


def _crash(way: Callable[..., None], model: Model, point: Point, number: int) -> None:
    way(model, point, key=f"round {number}")


def random_moments(
    folder: Path, options: argparse.Namespace
) -> Iterator[tuple[str, int, list[str]]]:
    """Row 2: eight ideas at work, each server killed at random moments."""
    kills, failures = random_kills.storm(folder, seconds=options.seconds, ideas=8)
    yield "kills at random moments", kills, failures


def pids(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Row 4: one process of a run is killed."""
    for level, victim in (
        *(("L0", "shim"), ("L0", "experiment"), ("L2", "shim"), ("L2", "experiment")),
        *(("L2", "outer bwrap"), ("L2", "inner bwrap")),
    ):
        home = folder / "home"
        title = f"{victim} {level}"
        idea = call(create, home, folder / "toy", title, 3 * options.rounds, level)
        slowest = 0.0

        def once(number: int, home: Path = home, idea: str = idea, victim: str = victim) -> None:
            nonlocal slowest
            before = "tree" if number else "plain"
            run = killing.start_run(home, idea, number + 1, before=before)
            seconds, observation = run.kill(killing.victims(run)[victim]())
            slowest = max(slowest, seconds)
            assert observation.run is not None
            assert observation.run.outcome in (Outcome.LOST, Outcome.KILLED), observation.message

        count, failures = tried(min(options.rounds, 20), once)
        yield f"{title} killed, tree gone within {slowest:.2f} s", count, failures


def cuts(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Row 3: the power fails, at a random moment and at every named point."""
    moments = random.Random(7)
    with loop_mounts.disk(megabytes=256) as machine:
        told = power.Acknowledged(call(create, machine.home, folder / "toy", "Power", 10_000))

        def once(_number: int) -> None:
            power.cut_while_working(machine, told, seconds=moments.uniform(0.0, 0.5))
            _no_losses(machine, told)

        yield "power cut at random moments", *tried(options.rounds, once)
        for name in POINTS:
            idea = call(create, machine.home, folder / "toy", name, 100)
            at = power.Acknowledged(idea)
            at.take(call(propose, machine.home, idea, reply(0, 1)))

            def cut(_number: int, at: power.Acknowledged = at, name: str = name) -> None:
                power.cut_at(machine, at, name)
                _no_losses(machine, at)

            yield f"power cut {name}", *tried(max(1, options.rounds // 50), cut)


def _no_losses(machine: loop_mounts.Disk, told: power.Acknowledged) -> None:
    lost = power.losses(machine, told)
    power.go_on(machine, told)
    assert not lost, "; ".join(lost)


def errors(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Row 7: every n-th system call of a proposal fails once, or from then on."""
    home = folder / "home"
    for name in syscall_faults.CALLS:
        model = Model(home, call(create, home, folder / "toy", f"{name} fails", 10_000))
        count = io_rounds.faulty_round(model, folder).calls()[name]
        cases = [
            f"{name}:error={error}:when={number}{sticky}"
            for number in range(1, count + 1)
            for error, sticky in (("EIO", ""), ("ENOSPC", "" if name == "openat" else "+"))
        ][: 10 * options.rounds]
        yield f"{name} fails", *tried(len(cases), partial(_fail, model, folder, cases))
    yield "what is left in the home", *tried(1, lambda _: check_home(home))


def _fail(model: Model, folder: Path, cases: list[str], number: int) -> None:
    io_rounds.faulty_round(model, folder, inject=cases[number])


def floods(folder: Path, _options: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Row 10: eight floods of 500 MB at once."""
    grown = 0

    def once(_number: int) -> None:
        nonlocal grown
        places = [folder / f"flood-{number}" for number in range(8)]
        with flooding.watched_shims(folder) as peaks:
            servers = [Server(flooding.flood, place) for place in places]
            grown = max(server.result() for server in servers) + peaks.growth
        for place in places:
            flooding.check_log(place / "record" / "stdout.log")
        assert grown < flooding.ALLOWED_GROWTH

    count, failures = tried(1, once)
    yield f"eight floods at once, {grown / 2**20:.0f} MiB grown", count, failures


PARTS: dict[str, Part] = {
    "points": points,
    "random": random_moments,
    "pids": pids,
    "power": cuts,
    "errors": errors,
    "floods": floods,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--point", choices=list(POINTS))
    options = parser.parse_args()
    bad = 0
    print(f"{'rounds':>7} {'failed':>7}  what")
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as scratch:
            folder = Path(scratch)
            write_template(folder / "toy")
            began = time.monotonic()
            for title, count, failures in PARTS[name](folder, options):
                bad += len(failures)
                print(f"{count:7} {len(failures):7}  {title}", flush=True)
                for failure in failures:
                    print(f"{'':17}{' '.join(failure.split())[-300:]}", flush=True)
            print(f"{'':17}{name}: {time.monotonic() - began:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
