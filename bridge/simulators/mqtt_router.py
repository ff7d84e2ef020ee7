"""From a published message to the sessions that want it; and who wants what. No I/O and no clock."""

from __future__ import annotations

from typing import Final

from bridge.simulators.mqtt_packets import (
    PacketType,
    Property,
    Publish,
    Reason,
    Subscribe,
    SubscribeAck,
    Subscription,
    Unsubscribe,
    Will,
    number,
)
from bridge.simulators.mqtt_sessions import Counters, Delivery, Limits, Session
from bridge.simulators.mqtt_topics import (
    Grant,
    Message,
    RetainedMessages,
    SubscriptionTree,
    copies,
    valid_filter,
)

_NOT_FORWARDED: Final = {Property.MESSAGE_EXPIRY, Property.WILL_DELAY}
_SHARED: Final = "$share/"


class Router:
    """The subscriptions of all sessions and the retained messages."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._limits = limits
        self._counters = counters
        self._tree: SubscriptionTree[Session] = SubscriptionTree()
        self._retained = RetainedMessages(limits.retained_bytes)

    def publish(self, source: Publish | Will, sender: Session | None, now: float) -> Reason:
        """Bring a message to all who want it (3.3.4); the reason is for its acknowledgement."""
        self._counters.messages_in += 1
        message = _message(source, now)
        if message.retain and not self._retained.store(message, now):
            self._counters.dropped += 1
            return Reason.QUOTA_EXCEEDED
        reason = Reason.NO_MATCHING_SUBSCRIBERS
        for session, matched in self._tree.match(message.topic):
            grants = matched
            if session is sender:
                grants = [grant for grant in matched if not grant.no_local]
                if not grants:
                    continue
            for grant in copies(grants):
                retain = message.retain and grant.retain_as_published
                qos = min(grant.qos, message.qos)
                session.deliver(Delivery(message, qos, retain, grant.identifiers), now)
            reason = Reason.SUCCESS
        return reason

    def subscribe(self, packet: Subscribe, session: Session, now: float) -> None:
        """Grant or refuse each filter, answer, then send the retained messages (3.8.4)."""
        identifier = number(packet.properties, Property.SUBSCRIPTION_IDENTIFIER, 0)
        identifiers = (identifier,) if identifier else ()
        reasons: list[int] = []
        retained: list[Delivery] = []
        for wanted in packet.subscriptions:
            refusal = self._refusal(wanted, session)
            if refusal is not None:
                reasons.append(refusal)
                continue
            reasons.append(wanted.qos)
            new = wanted.topic_filter not in session.subscriptions
            grant = Grant(wanted.qos, wanted.no_local, wanted.retain_as_published, identifiers)
            session.subscriptions[wanted.topic_filter] = grant
            self._tree.add(wanted.topic_filter, session, grant)
            if wanted.retain_handling == 0 or (wanted.retain_handling == 1 and new):
                retained += [
                    Delivery(message, min(wanted.qos, message.qos), True, identifiers)
                    for message in self._retained.matching(wanted.topic_filter, now)
                ]
        if session.outlet is not None:
            session.outlet.send(SubscribeAck(PacketType.SUBACK, packet.packet_id, tuple(reasons)))
        for delivery in retained:
            session.deliver(delivery, now)

    def unsubscribe(self, packet: Unsubscribe, session: Session) -> SubscribeAck:
        """End subscriptions (3.10.4)."""
        reasons = []
        for topic_filter in packet.topic_filters:
            known = session.subscriptions.pop(topic_filter, None)
            if known is not None:
                self._tree.remove(topic_filter, session)
            reasons.append(Reason.SUCCESS if known is not None else Reason.NO_SUBSCRIPTION_EXISTED)
        return SubscribeAck(PacketType.UNSUBACK, packet.packet_id, tuple(reasons))

    def forget(self, session: Session) -> None:
        """A session has ended."""
        for topic_filter in session.subscriptions:
            self._tree.remove(topic_filter, session)

    def _refusal(self, wanted: Subscription, session: Session) -> Reason | None:
        if wanted.topic_filter.startswith(_SHARED):
            return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not valid_filter(wanted.topic_filter):
            return Reason.TOPIC_FILTER_INVALID
        full = len(session.subscriptions) >= self._limits.subscriptions
        if full and wanted.topic_filter not in session.subscriptions:
            return Reason.QUOTA_EXCEEDED
        return None


def _message(source: Publish | Will, now: float) -> Message:
    expires, properties = None, source.properties
    if properties:
        expiry = number(properties, Property.MESSAGE_EXPIRY, -1)
        expires = now + expiry if expiry >= 0 else None
        properties = tuple(entry for entry in properties if entry[0] not in _NOT_FORWARDED)
    return Message(source.topic, source.payload, source.qos, source.retain, properties, expires)
