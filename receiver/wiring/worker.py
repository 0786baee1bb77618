"""A worker as a process of its own."""

from __future__ import annotations

import os
import secrets
import socket

from receiver.config.model import Routing
from receiver.config.settings import Settings
from receiver.config_state import ConfigState
from receiver.engine.jobs import Background
from receiver.engine.worker import Worker
from receiver.errors import ConfigError
from receiver.incidents.routing_keys import RoutingKeys
from receiver.integrations.slack.socket_mode import SlackSocket
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.storage.keys import TASKS
from receiver.wiring.machine import build_worker_services
from receiver.wiring.parts import build_services, open_store
from receiver.wiring.porter import build_slack_interactions

# A channel that is slow to answer holds a thread for its time-out; others go on meanwhile.
THREADS = {SLACK: 8, PAGERDUTY: 8, ALERTMANAGER: 4, TASKS: 4}


class ReceiverWorker:
    """A worker that can be given another configuration."""

    def __init__(self, settings: Settings, routing: Routing) -> None:
        self._settings = settings
        host = socket.gethostname()
        self._client = open_store(settings)  # one for all configurations: another would have lines of its own
        services = build_services(
            settings,
            routing,
            client=self._client,
            process=f"worker on {host} (process {os.getpid()})",
            find_config_state=lambda: self._config_state,
        )
        self._clock = services.clock
        self._config_state = ConfigState(services.clock())
        self._background = Background([services.config.save])
        self._keys = RoutingKeys()
        worker_services = build_worker_services(services, keys=self._keys)
        # Under `run` the one that takes our place has our name, and so what was lent to us.
        name = f"{services.run_id or secrets.token_hex(8)}.{host}"
        self._worker = Worker(
            name,
            services.work_queue,
            worker_services.reconciler,
            worker_services.periodic_tasks,
            services.clock,
            threads=THREADS,
        )
        self._socket = (
            SlackSocket(settings.slack_app_token, settings.slack_api_url, build_slack_interactions(services))
            if settings.slack_app_token
            else None
        )

    def run(self) -> None:
        """Work until `stop`."""
        if self._socket is not None:
            self._socket.start()
        self._background.start()
        self._worker.run()
        self._background.stop()
        if self._socket is not None:
            self._socket.stop()

    def stop(self) -> None:
        """Ask `run` to end."""
        self._worker.stop()

    def reload(self, routing: Routing) -> None:
        """Go on with another configuration."""
        services = build_services(self._settings, routing, client=self._client)
        worker_services = build_worker_services(services, keys=self._keys)
        self._worker.use_configuration(worker_services.reconciler, worker_services.periodic_tasks)
        if self._socket is not None:
            self._socket.use_handler(build_slack_interactions(services))
        self._config_state = ConfigState(self._clock())

    def record_refused_config(self, error: ConfigError) -> None:
        """Go on with the configuration in force, as another one is faulty, and have that said."""
        self._config_state = self._config_state.with_refusal(error.problems, self._clock())


def build_worker(settings: Settings, routing: Routing) -> ReceiverWorker:
    """Return a worker on the store of *settings*."""
    return ReceiverWorker(settings, routing)
