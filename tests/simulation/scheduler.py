"""The scheduler: many actors in one thread, each stopped before its next effect; a seed decides which one
continues.

An actor stands for a thread of our processes: a consumer thread of a worker, or a request in a web process.
It runs alone until its next effect on the outside (a round trip to Redis, a call of a channel, a response).
There it waits until the seed lets it continue, fail or be killed. So every order of effects can happen, and
the same seed repeats it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from greenlet import getcurrent, greenlet

# More effects than any schedule needs: reaching this limit means a hot loop.
EFFECTS_AT_MOST = 60_000
NEVER = float("inf")


class Killed(BaseException):
    """kill -9: no exception handler of the product runs, and nothing is released."""


class EndlessRun(AssertionError):
    """An action is repeated without end."""


@dataclass(eq=False)
class Actor:
    """One thread of a process (*host*)."""

    name: str
    host: str
    task: greenlet
    queue: str = ""
    wakes_at: float = 0.0
    claimed_id: str = ""  # the incident it has leased
    is_asking: bool = False  # it has read the clock and claims next
    effects: list[int] = field(default_factory=list)  # the numbers of its latest effects


class Scheduler:
    """The actors, the clock they share, and the trace of their effects."""

    def __init__(self, rng: random.Random, now: float) -> None:
        self.rng = rng
        self.moment = now
        self.actors: list[Actor] = []
        self.number = 0  # the number of the latest effect
        self.trace: list[str] = []
        self.ahead: Callable[[str], float] = lambda _: 0.0  # by how many seconds a host's clock is ahead
        self.stalled: dict[str, float] = {}  # host -> until when it is paused
        self.should_die: Callable[[Actor], bool] = lambda _: False  # called before each effect
        self.on_killed: Callable[[str], None] = lambda _: None
        self._current: Actor | None = None
        self._doomed: list[str] = []
        self._hub = getcurrent()

    def clock(self) -> float:
        """Return the time by the clock of the current actor's host; without a current actor, the true time."""
        return self.moment + (self.ahead(self._current.host) if self._current is not None else 0.0)

    def redis_clock(self) -> float:
        return self.moment

    def add_trace(self, line: str) -> None:
        self.trace.append(f"{self.number:5d} {self.moment - 1.795e9:12.3f} {line}")

    # --- actors ---

    def start(self, name: str, host: str, work: Callable[[], object], queue: str = "") -> Actor:
        """Run *work* in a new actor, which starts when the seed says so."""
        actor = Actor(name, host, greenlet(lambda: self._run_actor(work), self._hub), queue)
        self.actors.append(actor)
        return actor

    def _run_actor(self, work: Callable[[], object]) -> None:
        with suppress(Killed):
            work()

    @property
    def current(self) -> Actor | None:
        return self._current

    def kill(self, host: str) -> None:
        """Kill the process *host*: all its actors, wherever they are."""
        self.add_trace(f"--- {host} is killed")
        for actor in [one for one in self.actors if one.host == host]:
            self.actors.remove(actor)
            if actor.task:  # an actor that has not started has no stack to unwind
                actor.task.throw(Killed)
        self.on_killed(host)

    def abandon(self) -> None:
        """End all actors at the end of the schedule."""
        for actor in self.actors:
            if actor.task:
                actor.task.throw(Killed)
        self.actors.clear()

    def may_go_on(self, actor: Actor) -> bool:
        return actor.wakes_at <= self.moment and self.stalled.get(actor.host, 0.0) <= self.moment

    def step(self) -> bool:
        """Let one actor, chosen by the seed, run to its next effect; return False if all wait."""
        able = [actor for actor in self.actors if self.may_go_on(actor)]
        if not able:
            return False
        self.go_on(self.rng.choice(able))
        return True

    def go_on(self, actor: Actor) -> None:
        """Let this actor run to its next effect."""
        self._current = actor
        try:
            actor.task.switch()
        finally:
            self._current = None
        if actor.task.dead and actor in self.actors:
            self.actors.remove(actor)
        while self._doomed:
            self.kill(self._doomed.pop())

    def next_moment(self) -> float:
        """Return when the next waiting actor continues by itself."""
        return min(
            (max(actor.wakes_at, self.stalled.get(actor.host, 0.0)) for actor in self.actors), default=NEVER
        )

    # --- for actors ---

    def wait_until(self, moment: float) -> None:
        """Block the current actor until *moment*."""
        actor = self._current
        if actor is not None:
            actor.wakes_at = moment
            self._hub.switch()
            actor.wakes_at = 0.0

    def wait_for_turn(self, what: str) -> Actor | None:
        """Block the current actor until it may have its effect; return None outside of actors."""
        actor = self._current
        if actor is None:
            return None
        self._hub.switch()
        if self.should_die(actor):
            self._doomed.append(actor.host)
            raise Killed
        self.number += 1
        actor.effects = [*actor.effects[-7:], self.number]
        self.add_trace(f"{actor.name}: {what}")
        if self.number > EFFECTS_AT_MOST:
            raise EndlessRun(f"{self.number} effects and no rest")
        return actor

    def wake(self, queue: str, moment: float) -> None:
        """Let the actors that wait for work of a queue continue at *moment*."""
        for actor in self.actors:
            if actor.queue == queue and not actor.claimed_id:
                actor.wakes_at = min(actor.wakes_at, moment)

    def describe(self, last: int = 400) -> str:
        return "\n".join(self.trace[-last:])


def pick_by_chance(rng: random.Random, chances: dict[str, float]) -> str:
    """Return one of the names by its probability; an empty string for none."""
    left = rng.random()
    for name, chance in chances.items():
        left -= chance
        if left < 0:
            return name
    return ""
