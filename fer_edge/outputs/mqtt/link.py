"""One connection to a broker, from its first packet to its end; used in one thread.

paho would connect again by itself, and send what it still has in its memory. Here each connection has a
client of its own, so that nothing of an earlier one is left: what must not be lost is read from the store.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...control.broker import Broker, tls_context
from ...errors import MissingExtraError, OutputError

if TYPE_CHECKING:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import MQTTProtocolVersion

KEEP_ALIVE = 20
"""Seconds. A broker that hangs is noticed within twice of it, and it notices a dead device in 1.5 times."""

ANSWER_SECONDS = 10.0
"""Time for the broker to let a client in."""

WINDOW = 20
"""Most messages that wait for their acknowledgement, unless the broker takes fewer."""

LARGEST = 256 * 1024
"""Bytes of a packet that may come; a broker keeps larger ones to itself, from MQTT 5.0 on."""

_MOST_RECEIVED = 100
_TAKEN_OVER = 142
_UNSUPPORTED_PROTOCOL = "Unsupported protocol version"


class LinkLost(OutputError):
    """There is no connection to the broker, or none any more.

    ``refused``: the broker answered, and did not let this client in. ``taken_over``: another client with the
    same id has come.
    """

    def __init__(self, reason: str, *, refused: bool = False, taken_over: bool = False) -> None:
        super().__init__(reason)
        self.refused, self.taken_over = refused, taken_over


@dataclass(frozen=True)
class Message:
    """A message to be sent, or one that came."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    """Of one that came: it was kept by the broker from before."""
    number: int = 0
    """Of one that came, for :meth:`Link.take`."""


@dataclass(frozen=True)
class Session:
    """What a broker keeps of a client that is away, and how it sends to one that confirms by itself."""

    seconds: int
    """For which the broker keeps what it cannot deliver, with MQTT 5; earlier versions keep it for ever."""
    received: int
    """Most messages on their way that were not confirmed yet."""
    packet: int
    """Bytes of the largest packet that the broker is to send."""
    anew: bool = False
    """Whether the broker is to forget what it kept, with MQTT 5."""


def require_paho() -> None:
    """Raise :class:`~fer_edge.errors.MissingExtraError` where paho-mqtt is missing or too old."""
    try:
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("MQTT", "paho-mqtt 2", "mqtt") from error


class Link:
    """A connection that :meth:`connect` makes and :meth:`turn` keeps up.

    ``will``: what the broker tells the others where this client vanishes. ``session``: what it keeps; each
    message that came with QoS 1 is then confirmed by :meth:`take` only. ``None``: nothing is kept, and
    messages are confirmed as they come.
    """

    def __init__(
        self, broker: Broker, client_id: str, will: Message | None = None, session: Session | None = None
    ) -> None:
        self.broker, self._client_id, self._will = broker, client_id, will
        self._session = session
        self.received: deque[Message] = deque()
        """Messages that came, to be taken from the left."""
        self.acknowledged: deque[tuple[int, str | None]] = deque()
        """Numbers of messages that the broker has, each with why it refused it."""
        self.subscribed: deque[tuple[int, tuple[str, ...]]] = deque()
        """Numbers of subscriptions that were answered, each with what was wrong."""
        self.window = WINDOW
        self.protocol = ""
        """Version of MQTT that the broker speaks."""
        self._client: paho.Client | None = None
        self._let_in = False
        self._end: LinkLost | None = None

    def connect(self) -> None:
        """Connect and wait until the broker has let this client in. Raises :class:`LinkLost`."""
        from paho.mqtt.enums import MQTTProtocolVersion

        try:
            self._connect(MQTTProtocolVersion.MQTTv5)
        except LinkLost as lost:
            # Brokers from before 2019 know only 3.1.1.
            if not lost.refused or _UNSUPPORTED_PROTOCOL not in str(lost):
                raise
            self._end = None
            self._connect(MQTTProtocolVersion.MQTTv311)

    def turn(self, seconds: float) -> None:
        """Receive and send for up to so many seconds, less where something came. Raises :class:`LinkLost`."""
        assert self._client is not None
        try:
            code = self._turn(self._client, seconds)
        except Exception as error:
            # paho passes on exceptions of its parsers for bytes that are no MQTT packet.
            raise LinkLost(f"the broker sends something other than MQTT: {error!r}") from error
        if self._end is not None:
            raise self._end
        if code:
            raise LinkLost("connection lost")

    def _turn(self, client: paho.Client, seconds: float) -> int:
        """One call of paho's loop takes one packet; take all that are there."""
        count = -1
        code = client.loop(seconds)
        while not code and count < len(self.received) + len(self.acknowledged) < _MOST_RECEIVED:
            count = len(self.received) + len(self.acknowledged)
            code = client.loop(0)
        return code

    @property
    def congested(self) -> bool:
        """Whether something was not sent yet, since the broker or the network is slow."""
        return self._client is not None and self._client.want_write()

    def publish(self, message: Message) -> int:
        """Hand a message over; returns its number. Raises :class:`LinkLost`."""
        assert self._client is not None
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc:
            raise self._end or LinkLost("connection lost")
        return info.mid

    def take(self, message: Message) -> None:
        """Confirm a message that came with QoS 1, so that the broker forgets it. Raises :class:`LinkLost`."""
        assert self._client is not None
        if self._client.ack(message.number, message.qos):
            raise self._end or LinkLost("connection lost")

    def subscribe(self, filters: Sequence[str], qos: int = 1) -> int:
        """Ask for messages; returns the number with which :attr:`subscribed` tells the broker's answer.

        Raises :class:`LinkLost`.
        """
        assert self._client is not None
        code, number = self._client.subscribe([(one, qos) for one in filters])
        if code or number is None:
            raise self._end or LinkLost("connection lost")
        return number

    def close(self, seconds: float = 0.0) -> None:
        """Disconnect, so that the broker does not publish the will; what waits gets so many ``seconds``."""
        client, self._client = self._client, None
        if client is None:
            return
        deadline = time.monotonic() + seconds
        # Whatever fails now, the connection is over.
        with contextlib.suppress(Exception):
            while client.want_write() and (left := deadline - time.monotonic()) > 0 and not client.loop(left):
                pass
            if not client.want_write():
                client.disconnect()
        self._drop(client)

    def abandon(self) -> None:
        """End the connection without a word: the broker publishes the will."""
        client, self._client = self._client, None
        if client is not None:
            self._drop(client)

    @staticmethod
    def _drop(client: paho.Client) -> None:
        client.on_disconnect = None
        sock = client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _connect(self, protocol: MQTTProtocolVersion) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        broker, session = self.broker, self._session
        new = protocol == MQTTProtocolVersion.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            clean_session=None if new else session is None,
            protocol=protocol,
            reconnect_on_failure=False,
            manual_ack=session is not None,
        )
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_publish = self._on_message, self._on_publish
        client.on_subscribe = self._on_subscribe
        client.max_inflight_messages = WINDOW
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            client.tls_set_context(tls_context(broker))
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        self._client, self._let_in = client, False
        self.protocol = "5.0" if new else "3.1.1"
        try:
            if new:
                client.connect(
                    broker.host,
                    broker.port,
                    KEEP_ALIVE,
                    clean_start=session is None or session.anew,
                    properties=_properties(session),
                )
            else:
                client.connect(broker.host, broker.port, KEEP_ALIVE)
            deadline = time.monotonic() + ANSWER_SECONDS
            while not self._let_in:
                if time.monotonic() > deadline:
                    raise LinkLost("the broker does not answer")
                self.turn(0.2)
        except BaseException as error:
            self.abandon()
            if isinstance(error, (OSError, ValueError)) and not isinstance(error, (LinkLost, UnicodeError)):
                raise LinkLost(_told(error)) from error
            if isinstance(error, UnicodeError):
                raise LinkLost(f"{broker.host!r} is not a host name") from error
            raise

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._end = LinkLost(f"the broker refuses: {str(reason).lower()}", refused=True)
            if _UNSUPPORTED_PROTOCOL in str(reason):
                self._end = LinkLost(f"the broker refuses: {_UNSUPPORTED_PROTOCOL}", refused=True)
            return
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", None) or WINDOW)
        self._let_in = True

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._end is None:
            told = "connection lost"
            if flags.is_disconnect_packet_from_server:
                told = f"the broker ended the connection: {str(reason).lower()}"
            elif str(reason) == "Keep alive timeout":
                told = "the broker does not answer any more"
            self._end = LinkLost(told, taken_over=reason.value == _TAKEN_OVER)

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        self.received.append(
            Message(message.topic, message.payload, message.qos, message.retain, message.mid)
        )

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        self.acknowledged.append((number, str(reason) if reason.is_failure else None))

    def _on_subscribe(self, client: Any, data: Any, number: int, reasons: Any, properties: Any) -> None:
        self.subscribed.append((number, tuple(str(one) for one in reasons if one.is_failure)))


def _properties(session: Session | None) -> Any:
    """What the broker may send; without a limit, a command of 256 MB would be read into memory."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = LARGEST if session is None else session.packet
    if session is not None:
        properties.SessionExpiryInterval = session.seconds
        properties.ReceiveMaximum = session.received
    return properties


def _told(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message} (--mqtt-ca)"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return str(getattr(error, "strerror", None) or error).lower()


Connect = Callable[[Broker, str, Message | None], Link]
"""Makes a link, for tests to replace."""
