"""The hallway: builds every part and introduces them. No rule lives here, and nothing that is done twice."""

from __future__ import annotations

from receiver.wiring.channels import build_channels, build_notification_builder
from receiver.wiring.machine import Machine, build_machine
from receiver.wiring.parts import Parts, build_parts, build_shelf
from receiver.wiring.porter import build_slack_interactions
from receiver.wiring.speakers import build_notice_service
from receiver.wiring.worker import build_worker

__all__ = [
    "Machine",
    "Parts",
    "build_channels",
    "build_machine",
    "build_notice_service",
    "build_notification_builder",
    "build_parts",
    "build_shelf",
    "build_slack_interactions",
    "build_worker",
]
