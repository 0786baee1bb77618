"""The page of a storm as one of those finds it whom it counts: what it is called, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.domain.storm import Storm, StormResponse, page_key, storm_dedup_key
from receiver.model.delivery import Delivery


@dataclass(frozen=True)
class BatchPage:
    """The page of one wave of a storm."""

    storm: Storm
    batch: int

    @property
    def key(self) -> str:
        """The name by which PagerDuty knows it."""
        return storm_dedup_key(self.storm.id, self.batch)

    @property
    def may_be_open(self) -> bool:
        """Tell whether PagerDuty may have it."""
        return self._delivery.may_have_arrived

    @property
    def sent_at(self) -> float:
        return self._delivery.first_attempt_at

    @property
    def response(self) -> StormResponse | None:
        """The last answer that was given for all it counts."""
        return next((one for one in reversed(self.storm.responses) if one.batch >= self.batch), None)

    @property
    def former_until(self) -> float:
        """Until when something may have been about another page: never, for each has its own key."""
        return 0.0

    @property
    def _delivery(self) -> Delivery:
        return self.storm.deliveries.get(page_key(self.batch), Delivery())
