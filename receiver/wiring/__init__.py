"""The hallway: builds every part and introduces them. No rule lives here, and nothing that is done twice."""

from __future__ import annotations

from receiver.wiring.channels import build_channels, build_notification_builder
from receiver.wiring.machine import WorkerServices, build_worker_services
from receiver.wiring.parts import Services, build_runbook_catalogue, build_services
from receiver.wiring.porter import build_slack_interactions
from receiver.wiring.speakers import build_notice_service
from receiver.wiring.worker import build_worker

__all__ = [
    "Services",
    "WorkerServices",
    "build_channels",
    "build_notice_service",
    "build_notification_builder",
    "build_runbook_catalogue",
    "build_services",
    "build_slack_interactions",
    "build_worker",
    "build_worker_services",
]
