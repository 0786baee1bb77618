"""The worker as it is built from the configuration."""

from __future__ import annotations

from receiver.app.worker import ReceiverWorker
from receiver.config.routing_loader import load_routing
from receiver.config.settings import load_settings
from tests.rig import Rig


def test_a_reload_reuses_the_connections_to_redis(rig: Rig) -> None:
    """Before, each reload opened a connection pool of its own, beside the one that claims."""
    settings = load_settings(rig.environ)
    routing = load_routing(rig.folder / "routing.yaml", rig.environ)
    worker = ReceiverWorker(settings, routing)
    worker.reload_routing(routing)
    inner = worker._worker
    assert inner._reconcilers.incidents.incidents._redis is inner._work_queue._redis
