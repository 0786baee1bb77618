"""What `receiver run` says when it is up: where things are, and what is only simulated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from receiver.config.model import Routing
from receiver.config.settings import Settings, list_auth_methods
from receiver.model.routing import PAGERDUTY
from receiver.web.server.listen import ListenAddress


def render_banner(address: ListenAddress, data_dir: Path, settings: Settings, routing: Routing) -> str:
    """Return the lines for somebody who starts this for the first time."""
    kept = "in the Redis of REDIS_URL" if settings.redis_url else f"in {data_dir}"
    hook = f"url: '{settings.public_url or address.url}/webhooks/alertmanager'"
    if settings.webhook_tokens:
        hook += ", http_config: {authorization: {credentials: RECEIVER_WEBHOOK_TOKEN's value}}"
    lines = [
        "The receiver runs.",
        f"  Page           {address.url}/",
        f"  Alertmanager   webhook_configs: [{{{hook}}}]",
        f"  Data           {kept}",
    ]
    lines += [f"  Let in         {method}" for method in list_auth_methods(settings)]
    simulated = list(_find_simulated(routing))
    lines += [f"  Simulated      {line}" for line in simulated]
    if simulated:
        lines.append("                 What they would have sent is logged and shown on the page.")
    lines.append("  Try            receiver fire TestAlert --severity critical")
    lines.append("Ctrl-C ends it; what it knows is kept.")
    return "\n".join(lines)


def _find_simulated(routing: Routing) -> Iterator[str]:
    if not routing.slack_token:
        yield "Slack: no token (SLACK_BOT_TOKEN)"
    pagers = {responder.name: responder.find_target(PAGERDUTY) for responder in routing.responders.values()}
    missing = [name for name, pager in pagers.items() if pager is not None and not pager.secret]
    if missing:
        yield f"PagerDuty: no routing key for {', '.join(missing)}"
