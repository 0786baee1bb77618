"""Alertmanager asked and told: which alerts it knows, and silences.

The replicas of a cluster gossip: a look asks each of them, a wish is told to the first that takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from receiver import clock as wall
from receiver.domain.witness import Poll, RemoteSilence, Replica, UnreachableReplica
from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.http_client import gather
from receiver.lookups.alertmanager_body import format_timestamp
from receiver.lookups.alertmanager_replica import AlertmanagerApi

_EVERYTHING: Mapping[str, str] = MappingProxyType({})


class AlertmanagerClient:
    """An Alertmanager, or all replicas of a cluster; threads may share it.

    *urls* may hold path prefixes and logins. *timeout_s* bounds a question that is put to all
    replicas as a whole, and otherwise each request. Nothing is tried twice.
    """

    def __init__(
        self, urls: Sequence[str], timeout_s: float = 3.0, clock: Callable[[], float] = wall.now
    ) -> None:
        self._replicas = tuple(AlertmanagerApi(url, timeout_s, clock) for url in urls)
        self._timeout_s = timeout_s
        self._clock = clock

    def poll(self, matchers: Mapping[str, str] = _EVERYTHING) -> Poll:
        """Return what all replicas show of the alerts with the labels *matchers* (none: of all).

        Raises nothing: a replica that can't be asked, or answers what can't be read, is in `unreachable`.
        """
        at = self._clock()
        answers = gather(
            [partial(replica.get_alerts, matchers) for replica in self._replicas], self._timeout_s
        )
        asked = list(zip(self._replicas, answers, strict=True))
        return Poll(
            at,
            replicas=tuple(answer for _, answer in asked if isinstance(answer, Replica)),
            unreachable=tuple(
                UnreachableReplica(replica.url, answer.detail or answer.reason)
                for replica, answer in asked
                if isinstance(answer, DeliveryError)
            ),
        )

    def list_silences(self, mark: str) -> tuple[RemoteSilence, ...]:
        """Return the silences, none expired, with *mark* in their comment ("" for all), oldest first.

        As the replicas that answer have them; raises a DeliveryError when none does.
        """
        answers = gather([replica.list_silences for replica in self._replicas], self._timeout_s)
        errors = [answer for answer in answers if isinstance(answer, DeliveryError)]
        if len(errors) == len(answers):
            raise _choose_error(errors)
        found = {
            silence.id: silence
            for silences in answers
            if not isinstance(silences, DeliveryError)
            for silence in silences
            if mark in silence.comment and silence.state != "expired"
        }
        return tuple(sorted(found.values(), key=lambda silence: (silence.starts_at, silence.id)))

    def get_silence(self, silence_id: str) -> RemoteSilence | None:
        """Return the silence, expired or not; None when there is none.

        Raises a DeliveryError when one replica can't be asked and no other knows it.
        """
        errors = []
        for replica in self._replicas:
            try:
                silence = replica.find_silence(silence_id)
            except DeliveryError as error:
                errors.append(error)
            else:
                if silence is not None:
                    return silence
        if errors or not self._replicas:
            raise _choose_error(errors)
        return None

    def make_silence(
        self,
        matchers: Mapping[str, str],
        starts_at: float,
        ends_at: float,
        *,
        by: str,
        comment: str,
        silence_id: str = "",
    ) -> str:
        """Silence what has the labels *matchers*, and return the silence's id.

        A *starts_at* that is past means now. With a *silence_id* that silence is given another end
        and keeps its start; where Alertmanager has lost it, it is made anew, with another id. Raises
        PermanentDeliveryError `silence_expired` when it is over there: somebody may have ended it on
        purpose. A 4xx is permanent too, with Alertmanager's words; TemporaryDeliveryError when no
        replica can take it now, or one may have taken it without telling.
        """
        if not matchers:
            raise PermanentDeliveryError("no_matchers", "it would silence everything")
        former = self.get_silence(silence_id) if silence_id else None
        if former is not None and former.state == "expired":
            raise PermanentDeliveryError("silence_expired", "it has ended in Alertmanager meanwhile")
        silence: dict[str, object] = {
            # In one order always: with others than before, Alertmanager would make a new silence.
            "matchers": [_build_equality_matcher(name, matchers[name]) for name in sorted(matchers)],
            "startsAt": format_timestamp(former.starts_at if former else starts_at),
            "endsAt": format_timestamp(ends_at),
            "createdBy": by,
            "comment": comment,
        }
        return self._post_silence({"id": former.id, **silence} if former else silence)

    def expire_silence(self, silence_id: str) -> None:
        """End the silence; one that is over already, or that nobody knows, counts as done.

        Raises a DeliveryError when one replica can't be told and no other knows it.
        """
        errors = []
        for replica in self._replicas:
            try:
                if replica.expire_silence(silence_id):
                    return
            except DeliveryError as error:
                errors.append(error)
        if errors or not self._replicas:
            raise _choose_error(errors)

    def _post_silence(self, silence: Mapping[str, object]) -> str:
        """Tell the first replica that takes it; return the id."""
        errors = []
        for replica in self._replicas:
            try:
                # A replica that hangs is found out before it may have taken anything. Otherwise,
                # with the first one hanging, the second would never be told.
                replica.check_status()
                return replica.post_silence(silence)
            except DeliveryError as error:
                if isinstance(error, TemporaryDeliveryError) and error.maybe_sent:
                    raise
                errors.append(error)
        raise _choose_error(errors)


def _build_equality_matcher(name: str, value: str) -> dict[str, object]:
    return {"name": name, "value": value, "isRegex": False, "isEqual": True}


def _choose_error(errors: Sequence[DeliveryError]) -> DeliveryError:
    """Return the error to raise for all: one that may pass goes before one that won't."""
    if not errors:
        return PermanentDeliveryError("no_alertmanager", "no address is configured")
    return next((error for error in errors if isinstance(error, TemporaryDeliveryError)), errors[0])
