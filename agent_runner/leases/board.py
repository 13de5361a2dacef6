"""The state of all slots below a folder, shared by every server process of a home.

    desk.lock      taken for every look and change, for milliseconds; its time says when slots were last dealt
    tickets/       who waits and who has what: see `tickets`
    desk.json      whose turn it was; what was lent: see `remembered`
    quarantine/    GPUs that are out of use

There is no daemon. Whoever waits deals out what is free, to all that wait and not only to itself, so the queue
moves on as long as one of them is alive.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agent_runner.leases import queueing, tickets
from agent_runner.leases.queueing import Request
from agent_runner.leases.remembered import Quarantine, Quarantined, Remembered, Use
from agent_runner.leases.tickets import Hold, Ticket
from agent_runner.paths import file_lock

DEAL_INTERVAL_S = 0.05  # between two deals by those who wait, however many they are


class Board:
    """What is lent, asked for and out of use. Every method takes the lock by itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = folder / "desk.lock"
        self._tickets = folder / "tickets"
        self._file = folder / "desk.json"
        self._quarantine = Quarantine(folder / "quarantine")

    # ------------------------------------------------------------ the queue

    def enter(self, request: Request) -> Hold:
        """Stand in the queue, with the next number, and take what is free if it is this one's turn."""
        with self._locked():
            number = max((t.request.number for t in tickets.living(self._tickets)), default=0) + 1
            hold = tickets.write_request(self._tickets, replace(request, number=number))
            try:
                self._deal()
            except BaseException:
                _drop(hold)
                raise
            return hold

    def deal_if_due(self) -> None:
        """Give out what has become free, unless somebody did so a moment ago."""
        if self._is_due():
            with self._locked():
                if self._is_due():  # still: others came to the lock at the same time
                    self._deal()

    def leave(self, hold: Hold) -> None:
        """Give up a ticket, and all it was given, at once."""
        with self._locked():
            _drop(hold)
            with contextlib.suppress(OSError):  # a full disk: those who wait will try again
                self._deal()

    def bind(self, hold: Hold, record_dir: Path) -> None:
        """Let a ticket live on as long as a job does."""
        with self._locked():
            # Clear away: an ended lease of the same folder must not revive with its next job.
            tickets.living(self._tickets)
            hold.note_job(str(record_dir))
            remembered = self._load()
            lent = [u for u in _gpus(hold.look()) if u in remembered.uses]
            for uuid in lent:
                remembered.uses[uuid] = replace(remembered.uses[uuid], holder=hold.look().who)
            if lent:
                remembered.save(self._file)

    # ------------------------------------------------------------ GPUs

    def use_to_prove(self, hold: Hold, uuid: str) -> Use | None:
        """The use of a GPU that has to be over; None where there is none, or others use it right now."""
        with self._locked():
            return None if self._is_shared(hold, uuid) else self._load().uses.get(uuid)

    def start_using(self, hold: Hold, uses: Sequence[tuple[str, Use]]) -> None:
        """Note what was seen on the GPUs of a ticket: from now on its job may be on them."""
        with self._locked():
            remembered = self._load()
            for uuid, use in uses:
                earlier = remembered.uses.get(uuid)
                remembered.uses[uuid] = use.after(earlier) if earlier else use
            remembered.save(self._file)
            hold.note_in_use()

    def stop_using(self, hold: Hold, uuids: Sequence[str]) -> None:
        """Note that GPUs are proved to be as they were."""
        with self._locked():
            remembered = self._load()
            for uuid in uuids:
                if not self._is_shared(hold, uuid):
                    remembered.uses.pop(uuid, None)
            remembered.save(self._file)

    def put_away(self, hold: Hold, item: Quarantined, *, lost: bool) -> None:
        """Put a GPU into quarantine: it is lost, or it is not as it was and no others use it right now."""
        with self._locked():
            if lost or not self._is_shared(hold, item.uuid):
                self._quarantine.put(item)

    def wait_again(self, hold: Hold) -> None:
        """Put a ticket back to its old place in the queue, since a GPU it was given is of no use."""
        with self._locked():
            ticket = hold.look()
            remembered = self._load()
            if ticket.turn_before is None:
                remembered.served.pop(ticket.request.holder, None)
            else:
                remembered.served[ticket.request.holder] = ticket.turn_before
            remembered.save(self._file)
            hold.take_back()
            self._deal()

    # ------------------------------------------------------------ quarantine

    def unusable(self) -> frozenset[str]:
        """UUIDs of the GPUs in quarantine."""
        return self._quarantine.uuids()

    def quarantined(self) -> tuple[Quarantined, ...]:
        return self._quarantine.all()

    def lift(self, index: int | str) -> Quarantined:
        """Take a GPU out of quarantine; what is on it then counts as having been there before."""
        with self._locked():
            item = self._quarantine.lift(index)
            remembered = self._load()
            if remembered.uses.pop(item.uuid, None):
                remembered.save(self._file)
            self._deal()
            return item

    # ------------------------------------------------------------ looking on

    def tickets(self) -> tuple[list[Ticket], list[Ticket]]:
        """Who has slots, and who waits, in the order of their turns."""
        with self._locked():
            living = tickets.living(self._tickets)
            served = self._load().served
        waiting = {t.request.number: t for t in living if t.slots is None}
        order = queueing.in_turn((t.request for t in waiting.values()), served)
        return [t for t in living if t.slots is not None], [waiting[r.number] for r in order]

    # ------------------------------------------------------------ under the lock

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with file_lock(self._lock):
            yield

    def _load(self) -> Remembered:
        return Remembered.load(self._file)

    def _is_due(self) -> bool:
        try:
            age = time.time() - self._lock.stat().st_mtime
        except FileNotFoundError:
            return True
        return not 0 <= age < DEAL_INTERVAL_S  # below 0: the clock was set back

    def _deal(self) -> None:
        os.utime(self._lock)
        living = tickets.living(self._tickets)
        waiting = [t.request for t in living if t.slots is None]
        if not waiting:
            return
        remembered = self._load()
        order = queueing.in_turn(waiting, remembered.served)
        held = [t.slots for t in living if t.slots is not None]
        given = queueing.deal(order, held, self._quarantine.uuids())
        for request in order:
            if request.number in given:
                before = remembered.served.get(request.holder)
                tickets.give(self._tickets, request.number, given[request.number], before)
                remembered.serve(request.holder)
        if given:
            remembered.save(self._file)

    def _is_shared(self, hold: Hold, uuid: str) -> bool:
        """Whether another lease has a share of the GPU, and may be on it."""
        return any(
            ticket.in_use and ticket.request.number != hold.number and uuid in _gpus(ticket)
            for ticket in tickets.living(self._tickets)
        )


def _gpus(ticket: Ticket) -> tuple[str, ...]:
    return ticket.slots.gpus if ticket.slots else ()


def _drop(hold: Hold) -> None:
    try:
        if not hold.is_removed():  # else its name may be another's by now
            hold.path.unlink()
    finally:
        hold.let_go()  # this alone ends it
