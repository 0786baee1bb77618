"""One schedule: the parts of the receiver, fake vendors, and the events that a seed chooses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

from receiver.app.services import Services, build_services
from receiver.app.worker import build_reconcilers
from receiver.config.model import Routing
from receiver.config.settings import Settings
from receiver.engine.queue import WorkQueue
from receiver.engine.reconcilers import Reconcilers
from receiver.errors import LeaseLost, NotFound, StoreError
from receiver.incidents.ingest import IncidentIngester
from receiver.incidents.store import RedisIncidents
from receiver.integrations.alertmanager import webhook
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.model.incident import Incident, Person
from receiver.model.page_confirmation import PagerDutyEvent
from receiver.model.routing import PAGERDUTY, SLACK
from receiver.storage.connection import Client
from receiver.storage.keys import CLUSTER_SHARDS
from receiver.text import Secret
from receiver.web.app import create_app
from tests.mocks.pagerduty_account import SERVICE
from tests.rig import QUEUES, START
from tests.script_clocks import SkewedClock
from tests.simulation.connections import SimulatedRedis
from tests.simulation.fakes import FakePagerDuty, FakeSlack
from tests.simulation.pager_rest import FakePagerDutyRest
from tests.simulation.scheduler import NEVER, Actor, Scheduler
from tests.simulation.sender import (
    TrueGroup,
    change_routes,
    change_truth,
    draw_groups,
    expire_straight_alerts,
    list_firing,
    write_bodies,
)

WORKERS = ("worker-1", "worker-2")
RENEW_EVERY_S = 0.7
# More than the tolerance of the receiver for PagerDuty's clock, and than the differences between hosts.
SOON_S = 6.1
# How often a webhook is posted again after a 503 or a closed connection; then its sender creates a new one.
TRIES = 4
# The time after the last event in which everything must be completed: retries, steps of half an hour, edits.
REST_S = 2 * 3600.0


@dataclass(frozen=True)
class RecordedState:
    """The state of an incident from one effect on."""

    number: int
    at: float
    incident: Incident


@dataclass
class FaultRates:
    """The faults of this schedule, as probabilities at each effect."""

    store: dict[str, float] = field(default_factory=dict)
    slack: dict[str, float] = field(default_factory=dict)
    pager: dict[str, float] = field(default_factory=dict)
    blind: float = 0.0
    death: float = 0.0
    stall: float = 0.0
    clock: float = 0.0
    permanent: float = 0.0
    apart_s: float = 0.0  # the largest difference between the clocks of two hosts

    @property
    def is_calm(self) -> bool:
        return not (self.store or self.slack or self.pager or self.death or self.stall)


def draw_fault_rates(rng: random.Random) -> FaultRates:
    """Return the faults; in some schedules there are none, in some all."""

    def some(**chances: float) -> dict[str, float]:
        strength = rng.choice((0.0, 0.3, 1.0, 3.0))
        return {name: chance * strength for name, chance in chances.items() if strength}

    if rng.random() < 0.08:
        return FaultRates()
    return FaultRates(
        store=some(refused=0.02, lost=0.02, twice=0.01),
        slack=some(refused=0.1, limited=0.05, silent=0.05, lost=0.05, slow=0.1),
        pager=some(refused=0.1, limited=0.05, silent=0.05, lost=0.05, slow=0.1),
        blind=rng.choice((0.0, 0.0, 0.0, 0.1)),
        death=rng.choice((0.0, 0.01, 0.03, 0.08)),
        stall=rng.choice((0.0, 0.0, 0.0, 0.1)),
        clock=rng.choice((0.0, 0.0, 0.1)),
        permanent=rng.choice((0.0, 0.0, 0.0, 0.02)),
        apart_s=rng.choice((0.0, 0.0, 1.0, 8.0, 60.0)),
    )


class Scenario:
    """The whole schedule; `run()` runs it and lets it settle."""

    def __init__(
        self,
        seed: int,
        redis_line: SimulatedRedis,
        observer: Client,
        settings: Settings,
        routings: Sequence[Routing],
    ) -> None:
        self.seed = seed
        self.rng = random.Random(f"schedule {seed}")
        self.scheduler = Scheduler(self.rng, START)
        # In some schedules PagerDuty's REST API is available; in all, routing keys of responders may change.
        self.is_asked = self.rng.random() < 0.5
        token = Secret("rest-token" if self.is_asked else "")
        self.routings = [replace(one, pagerduty_api_token=token) for one in routings]
        self.routing = routing = self.routings[0]
        self.observer = observer
        self.shards = self.rng.choice((1, 1, 1, 1, CLUSTER_SHARDS))
        self.script_clock = script_clock = SkewedClock(self.scheduler.clock, self.scheduler.redis_clock)
        # The true state, read without faults.
        self.truth = RedisIncidents(
            observer, history_s=routing.history, shards=self.shards, script_clock=script_clock
        )
        self.truth_work_queue = WorkQueue(observer, shards=self.shards, script_clock=script_clock)
        self.redis = redis_line
        redis_line.scheduler, redis_line.chances, redis_line.on_change = (
            self.scheduler,
            {},
            self._record_states,
        )
        self.keys = RoutingKeys()
        self.slack = FakeSlack(self.scheduler)
        self.pager = FakePagerDuty(self.scheduler, self.keys)
        if self.shards > 1:  # the URL decides the number of shards, the client connects to the server
            settings = replace(settings, redis_url=Secret("redis+cluster://127.0.0.1:1"))
        self.services: Services = build_services(
            settings,
            routing,
            self.scheduler.clock,
            client=redis_line,
            script_clock=script_clock,
            pause=self._pause_ingester,
        )
        self.channels = {SLACK: self.slack, PAGERDUTY: self.pager}
        self.rest = FakePagerDutyRest(self.scheduler, self.pager.account)
        self.auto_resolved: list[str] = []  # the dedup key of each page that PagerDuty itself resolved
        self.reconcilers: Reconcilers = self._build_reconcilers(self.services)
        self.web = (
            create_app(self.services, rate_limits=None).test_client() if self.rng.random() < 0.1 else None
        )
        self.groups = draw_groups(self.rng)
        self.fault_rates = draw_fault_rates(self.rng)
        self.scheduler.ahead = self._ahead
        self.scheduler.should_die = self._should_die
        self.scheduler.on_killed = self._restart
        self.history: dict[str, list[RecordedState]] = {}
        self.accepted: set[str] = set()  # the firing alerts of every body that was answered with 200
        self.known: list[str] = []  # incidents that were named in a response
        self.stepped_back = 0.0  # the total number of seconds that the clock was set back
        self.is_rough = True
        self.kills = 0
        self._clocks: dict[str, float] = {}  # by name: the seconds by which each is ahead
        self._restarts: list[tuple[float, str]] = []
        self._lives = 0

    def _build_reconcilers(self, services: Services) -> Reconcilers:
        rest = self.rest if self.is_asked else None
        return build_reconcilers(services, self.channels, self.keys, rest)  # type: ignore[arg-type]

    # --- processes ---

    def _ahead(self, host: str) -> float:
        """Return the seconds by which the clock of *host* is ahead of Redis' clock."""
        name, _, number = host.partition(".")
        if name == "web":
            name = f"web-{int(number.partition('.')[0]) % 2}"
        if name not in self._clocks:
            half = self.fault_rates.apart_s / 2 if host != "person" else 0.0
            self._clocks[name] = random.Random(f"clock {self.seed} {name}").uniform(-half, half)
        return self._clocks[name]

    def _should_die(self, actor: Actor) -> bool:
        if not self.is_rough or not self.fault_rates.death or actor.host == "person":
            return False
        return self.rng.random() < self.fault_rates.death

    def _restart(self, host: str) -> None:
        self.kills += 1
        base = host.partition(".")[0]
        if base in WORKERS:
            self._restarts.append((self.scheduler.moment + self.rng.uniform(0.1, 8.0), base))

    def _start_worker(self, base: str) -> None:
        self._lives += 1
        host = f"{base}.{self._lives}"
        is_first = base == WORKERS[0]
        for queue in QUEUES:
            is_busy = queue in (SLACK, PAGERDUTY)
            for number in range(is_busy + is_first):  # two threads of one process, and one of another
                self._start_thread(host, queue, number)

    def _start_thread(self, host: str, queue: str, number: int) -> None:
        cell: list[Actor] = []
        actor = self.scheduler.start(
            f"{host}/{queue}-{number}", host, lambda: self._run_consumer(cell[0]), queue
        )
        cell.append(actor)

    def _run_consumer(self, me: Actor) -> None:
        """Claim, reconcile, release, as a queue consumer does."""
        work_queue = self.services.work_queue
        while True:
            reconcilers = self.reconcilers
            me.is_asking = True
            try:
                claims = work_queue.claim(me.queue, me.host, self.scheduler.clock(), 1)
            except StoreError:
                me.is_asking = False
                self.scheduler.wait_until(self.scheduler.moment + 0.5)
                continue
            me.is_asking = False
            if not claims.entries:
                ahead = self._ahead(me.host)
                self.scheduler.wait_until(
                    NEVER if claims.next_check_at is None else claims.next_check_at - ahead
                )
                continue
            me.claimed_id = claims.entries[0]
            try:
                dues = reconcilers.reconcile(me.claimed_id, me.queue, me.host)
                work_queue.release(me.queue, me.host, me.claimed_id, dues)
            except LeaseLost:
                self.scheduler.add_trace(f"{me.name}: claim lost")
            except StoreError as error:
                self.scheduler.add_trace(f"{me.name}: {error}")
            me.claimed_id = ""

    # --- webhooks ---

    def _pause_ingester(self, seconds: float) -> None:
        """Wait for the claim of another process, which expires by Redis' clock."""
        time.sleep(seconds)
        self.scheduler.wait_until(self.scheduler.moment + seconds)

    def _post(self, group: TrueGroup, replica: int, key: str, body: bytes) -> None:
        """Let one Alertmanager post *body*, again until it is accepted."""
        group.busy.add((replica, key))
        self._lives += 1
        self._try_post(group, (replica, key), body, 1)

    def _try_post(self, group: TrueGroup, who: tuple[int, str], body: bytes, tries: int) -> None:
        replica = who[0]
        answered: list[bool] = []
        host = f"web.{self._lives}.{tries}.{replica}"

        def work() -> None:
            is_taken = self._accept_webhook(body)
            self.scheduler.wait_for_turn("answers " + ("200" if is_taken else "503"))
            if is_taken:
                self.accepted |= list_firing(body)
            answered.append(is_taken)

        def wait() -> None:
            while any(actor.host == host for actor in self.scheduler.actors):
                self.scheduler.wait_until(self.scheduler.moment + 0.05)
            if answered == [True] or tries == TRIES:
                group.busy.discard(who)
                return
            self.scheduler.wait_until(self.scheduler.moment + self.rng.uniform(0.2, 3.0))
            self._try_post(group, who, body, tries + 1)

        self.scheduler.start(f"{host} {group.name}", host, work)
        self.scheduler.start(f"alertmanager-{replica} {group.name}", "person", wait)

    def _accept_webhook(self, body: bytes) -> bool:
        if self.web is not None:
            answer = self.web.post("/webhooks/alertmanager", data=body, content_type="application/json")
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                self._record_named(answer.json["incidents"])
            return answer.status_code == 200
        now = self.scheduler.clock()
        try:
            ingester: IncidentIngester = self.services.ingester
            result = ingester.ingest(webhook.parse_webhook(body, "", now).groups, now)
        except StoreError:
            return False
        self._record_named(result.incidents)
        return True

    def _record_named(self, incidents: list[str]) -> None:
        self.known += [one for one in incidents if one not in self.known]

    def _record_states(self, keys: list[str]) -> None:
        """Record the state of the incidents at these keys after this effect."""
        for held in self.truth.load_latest([key.rpartition(":")[2] for key in keys]):
            if held.incident is not None:
                seen = RecordedState(self.scheduler.number, self.scheduler.moment, held.incident)
                self.history.setdefault(held.incident.id, []).append(seen)

    # --- events ---

    def run(self) -> None:
        """Run the schedule, and then let time pass without faults until nothing is left to do."""
        for base in WORKERS:
            self._start_worker(base)
        for _ in range(self.rng.randint(8, 30)):
            self._run_one_event()
            for _ in range(self.rng.choice((0, 1, 3, 10, 30, 100))):
                if not self._step():
                    break
        self._settle()

    def _step(self) -> bool:
        for moment, base in list(self._restarts):
            if moment <= self.scheduler.moment:
                self._restarts.remove((moment, base))
                self._start_worker(base)
        return self.scheduler.step()

    def _run_one_event(self) -> None:
        """Let one event happen."""
        what = self.rng.choices(
            (
                self._change_alert,
                self._repeat,
                self._act_as_person,
                self._moment_passes,
                self._time_passes,
                self._change_faults,
                self._crash_host,
                self._clock_is_set,
                self._routes_change,
                self._pager_does_something,
            ),
            (6, 4, 3, 5, 4, 3, 2, 1, 1, 2),
        )[0]
        what()

    def _change_alert(self) -> None:
        group = self.rng.choice(self.groups)
        change_truth(group, self.rng, self.scheduler.moment)
        if self.rng.random() < 0.15:  # resolved before any notification
            change_truth(group, self.rng, self.scheduler.moment)
        self._post_group(group)

    def _repeat(self) -> None:
        """One or both Alertmanagers post again; after a reload this may be a part of the group."""
        group = self.rng.choice(self.groups)
        if group.has_begun():
            self._post_group(group)

    def _post_group(self, group: TrueGroup) -> None:
        for replica in self.rng.choice(((1,), (2,), (1, 2), (1, 2))):
            for route in group.routes:
                if self.rng.random() < 0.1:  # each receiver has its own timing
                    continue
                alerts = None
                if self.rng.random() < 0.2:
                    alerts = [alert for alert in group.alerts if self.rng.random() < 0.6]
                for key, body in write_bodies(group, route, replica, self.scheduler.moment, alerts).items():
                    if (replica, key) not in group.busy:
                        self._post(group, replica, key, body)

    def _act_as_person(self) -> None:
        if not self.known:
            return
        incident_id = self.rng.choice(self.known)
        incident_service, alice = self.services.incident_service, Person("alice")
        doings: dict[str, Callable[[float], object]] = {
            "acknowledge": lambda now: incident_service.acknowledge(incident_id, alice, now),
            "unacknowledge": lambda now: incident_service.unacknowledge(incident_id, alice, now),
            "snooze": lambda now: incident_service.snooze(incident_id, alice, 120.0, now),
            "resolve": lambda now: incident_service.resolve(incident_id, alice, now),
        }
        name = self.rng.choices(list(doings), (6, 3, 1, 2))[0]

        def work() -> None:
            try:
                doings[name](self.scheduler.clock())
            except (StoreError, NotFound) as error:
                self.scheduler.add_trace(f"{name}: {error}")

        self._lives += 1
        host = f"web.{self._lives}"
        self.scheduler.add_trace(f"--- alice would {name} {incident_id}")
        self.scheduler.start(f"{host} {name}", host, work)

    def _change_faults(self) -> None:
        """Start or end faults."""
        is_rough = self.rng.random() < 0.5
        fault_rates = self.fault_rates
        self.redis.chances = fault_rates.store if is_rough else {}
        self.slack.chances = {**fault_rates.slack, "permanent": fault_rates.permanent} if is_rough else {}
        self.pager.chances = {**fault_rates.pager, "permanent": fault_rates.permanent} if is_rough else {}
        self.rest.chances = {
            name: fault_rates.pager[name] for name in ("refused", "silent") if name in fault_rates.pager
        }
        self.rest.chances = self.rest.chances if is_rough else {}
        self.slack.blind = fault_rates.blind if is_rough else 0.0

    def _crash_host(self) -> None:
        hosts = sorted({actor.host for actor in self.scheduler.actors if actor.host != "person"})
        if self.fault_rates.death and hosts:
            self.scheduler.kill(self.rng.choice(hosts))
        if self.fault_rates.stall and self.rng.random() < self.fault_rates.stall and hosts:
            host = self.rng.choice(hosts)
            self.scheduler.add_trace(f"--- {host} stands still")
            self.scheduler.stalled[host] = self.scheduler.moment + self.rng.uniform(1.0, 10.0)

    def _clock_is_set(self) -> None:
        if self.rng.random() < self.fault_rates.clock:
            by = self.rng.uniform(-2.0, 2.0)
            self.scheduler.add_trace(f"--- the clock is set by {by:.3f} s")
            self.stepped_back += max(0.0, -by)
            self.scheduler.moment += by

    def _routes_change(self) -> None:
        if self.rng.random() < 0.5:
            change_routes(self.rng.choice(self.groups), self.rng)

    # --- events inside PagerDuty ---

    def _pager_does_something(self) -> None:
        """A maintenance window begins or ends, PagerDuty resolves a page, or a routing key is changed."""
        if self.fault_rates.is_calm:
            return
        self.rng.choice((self._window_turns, self._page_resolves, self._key_changes))()

    def _window_turns(self) -> None:
        if not self.is_asked:  # then the receiver can't notice it
            return
        deaf, key = self.pager.account.deaf, self.rng.choice(self.list_keys())
        self.scheduler.add_trace(
            f"--- the maintenance window of …{key[-2:]} {'ends' if key in deaf else 'begins'}"
        )
        deaf.symmetric_difference_update({key})

    def _page_resolves(self) -> None:
        """Auto-resolve: without the REST API the webhook always arrives, otherwise only sometimes."""
        found = self.pager.account.still_open()
        if not self.is_asked:
            # PagerDuty's clock is compared with ours: a resolve that soon after a trigger is attributed to
            # the previous page.
            found = [one for one in found if one.opened_at + SOON_S < self.scheduler.moment]
        if not found or not (self.is_asked or self.fault_rates.apart_s <= 1.0):
            return
        one = self.rng.choice(found)
        self.scheduler.add_trace(f"--- PagerDuty resolves {one.id} by itself")
        self.auto_resolved.append(one.dedup_key)
        self.pager.account.auto_resolves(one)
        if self.is_asked and self.rng.random() < 0.5:
            return
        number = len(self.auto_resolved)
        event = PagerDutyEvent(
            f"EVENT{number}",
            "incident.resolved",
            one.id,
            incident_key=one.dedup_key,
            status="resolved",
            by=SERVICE,
            occurred_at=self.scheduler.moment,
        )

        def notify() -> None:
            while True:
                with suppress(StoreError):
                    self.services.job_queue.enqueue(
                        "pagerduty", f"hook-{number}", asdict(event), self.scheduler.clock()
                    )
                    return
                self.scheduler.wait_until(self.scheduler.moment + 1.0)

        self.scheduler.start(f"pagerduty-hook-{number}", "person", notify)

    def _key_changes(self) -> None:
        """All workers reload with another routing key for one responder; each remembers the former ones."""
        self.routing = self.rng.choice(self.routings)
        self.scheduler.add_trace("--- a routing key is changed")
        services = build_services(
            self.services.settings,
            self.routing,
            self.scheduler.clock,
            client=self.redis,
            script_clock=self.script_clock,
            pause=self._pause_ingester,
        )
        self.reconcilers = self._build_reconcilers(services)

    def list_keys(self, name: str = "") -> list[str]:
        """Return all routing keys that a responder (or any) ever has."""
        return sorted(
            {
                target.secret.reveal()
                for routing in self.routings
                for responder in routing.responders.values()
                if name in ("", responder.name) and (target := responder.find_target(PAGERDUTY)) is not None
            }
        )

    # --- time ---

    def _moment_passes(self) -> None:
        """A short time passes, whatever actors are running."""
        self._pass_to(self.scheduler.moment + self.rng.choice((0.01, 0.1, 0.6, 1.0, 3.0)))

    def _time_passes(self) -> None:
        """A longer time passes; each action is executed when it is due."""
        self._work_until(
            self.scheduler.moment + self.rng.choice((2.0, 10.0, 60.0, 200.0, 310.0, 700.0, 1900.0))
        )

    def _pass_to(self, moment: float) -> None:
        """Advance the clock, and renew the leases of the running workers meanwhile.

        A lease starts when its worker read the clock, so only a process that is paused for longer than a
        lease would continue after its expiry.
        """
        while self.scheduler.moment < moment:
            for actor in [
                one for one in self.scheduler.actors if one.is_asking and self.scheduler.may_go_on(one)
            ]:
                if actor in self.scheduler.actors:
                    self.scheduler.go_on(actor)
            busy = [actor for actor in self.scheduler.actors if actor.claimed_id]
            hop = min(moment, self.scheduler.moment + RENEW_EVERY_S) if busy else moment
            self.scheduler.moment = hop
            for actor in busy:
                if self.scheduler.stalled.get(actor.host, 0.0) <= hop:
                    self._renew(actor, hop)

    def _renew(self, actor: Actor, now: float) -> None:
        self.truth_work_queue.renew(actor.queue, actor.host, [actor.claimed_id], now)

    def _work_until(self, end: float) -> None:
        while True:
            while self._step():
                pass
            moment = min([self.scheduler.next_moment(), *(at for at, _ in self._restarts)])
            if moment > end:
                break
            self._pass_to(max(moment, self.scheduler.moment + 0.001))
        self._pass_to(end)

    def _settle(self) -> None:
        """End all faults; both Alertmanagers post the true state once more, and then time passes.

        Alerts that come straight end then, since they are not renewed.
        """
        self.scheduler.add_trace("--- rest")
        self.is_rough = False
        self.pager.account.deaf.clear()
        self.rest.chances = {}
        self.redis.chances, self.slack.chances, self.pager.chances, self.slack.blind = {}, {}, {}, 0.0
        self._work_until(self.scheduler.moment + 30.0)
        for group in self.groups:
            for replica in (1, 2):
                for route in group.routes:
                    for key, body in write_bodies(group, route, replica, self.scheduler.moment).items():
                        self._post(group, replica, key, body)
            expire_straight_alerts(group, self.scheduler.moment)
        self._work_until(self.scheduler.moment + REST_S)
        for queue in QUEUES:  # a lost wake-up is compensated by regular polling
            self.scheduler.wake(queue, 0.0)
        self._work_until(self.scheduler.moment + 1.0)
