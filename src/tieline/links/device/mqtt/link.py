"""A broker's devices as a link: thermostats, plugs and chargers told by topic contracts, each by what it can be told.

Theory of operation. One connection carries all devices of a broker. On connect it subscribes to their topics, goes LIVE
and asks each device for its state. Commands go out in order, at most `rate_per_s`; what waits while the broker or the
device is away is sent when it is back, or ends EXPIRED. What a device makes of a command is in `appliance`. A broker
that is lost marks all points COMM_LOST with their last source time; a device that says nothing for `stale_s` is marked
NOT_TOPICAL. A message that can't be read is counted with its topic and field, and ends nothing. A broker that ends our
session again and again most likely knows another client by our id: see `endings`.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from codecs import BOM_UTF8
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.ports import Intake, LastHop, LinkHealth, Session
from tieline.device.profile import profile_over
from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.links.device.mqtt.appliance import Appliance
from tieline.links.device.mqtt.carrier import BROKER, Counts
from tieline.links.device.mqtt.contract import Bound, contract_of
from tieline.links.device.mqtt.endings import Endings
from tieline.links.device.mqtt.setpoints import Setpoints
from tieline.links.telling import Teller
from tieline.resource.batch import CommandBatch
from tieline.resource.identity import Rating
from tieline.resource.quality import Quality
from tieline.rim.certificates import load_pair
from tieline.rim.mqtt import MqttClient
from tieline.rim.supervise import Backoff, Supervisor
from tieline.times import SECOND_NS, Clock
from tieline.wire.mqtt.packets import Connect, Publish

_log = structlog.get_logger("tieline.mqtt")


class MqttDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """One device: its name in the topics, its profile, and its nameplate."""

    device: str
    profile: str
    rating: Rating


class MqttSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the broker is, which contract its devices keep, and who they are, by row.

    `password_file` names a file, so that no secret stands in a configuration; `authority` makes the connection TLS.
    """

    host: str
    port: int
    devices: dict[int, MqttDevice]
    contract: str = "zigbee2mqtt"
    prefix: str = "zigbee2mqtt"
    client_id: str = "tieline"
    user: str | None = None
    password_file: str | None = None
    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    keep_alive_s: int = 60
    ack_s: float = 10.0
    stale_s: float = 900.0
    rate_per_s: float = 50.0


class MqttLink:
    """Carries commands to the devices of one broker; a `desk.ports.CommandLink`."""

    def __init__(
        self,
        settings: MqttSettings,
        intake: Intake,
        clock: Clock,
        supervisor: Supervisor,
        rng: np.random.Generator,
        name: str = "mqtt",
        speed: float = 1.0,
        setpoints: Setpoints | None = None,
    ) -> None:
        """Make a link. `speed`: seconds of the clock in one of the loop. Raises ConfigError naming a bad setting.

        `setpoints` keeps what owners had set over a restart; None: in memory alone.
        """
        self.name, self.clock, self.speed = name, clock, speed
        self.setpoints = setpoints or Setpoints()
        check(settings)
        if not 0 < speed < 1e6:
            raise ConfigError(f"$.speed = {speed:g}: give above 0")
        self._settings, self._intake, self._supervisor, self._rng = settings, intake, supervisor, rng
        self.last_hop: LastHop | None = None
        self.teller = Teller(name, intake, clock)
        self.counts, self.ack_s = Counts(), settings.ack_s
        self._endings = Endings(settings.client_id)
        self._client: MqttClient | None = None
        self._session, self._since_ns = Session.DOWN, clock.now_ns()
        self._queue: OrderedDict[int, Callable[[], None]] = OrderedDict()
        self._free_s = -math.inf
        self._drain_timer: asyncio.TimerHandle | None = None
        self.appliances: dict[int, Appliance] = {}
        self._of_topic: dict[str, list[Appliance]] = {}
        contract = contract_of(settings.contract)
        for row, device in settings.devices.items():
            profile = profile_over(device.profile, "mqtt")
            bound = Bound(contract, settings.prefix, device.device, profile.mode)
            appliance = Appliance(row, device.device, profile, device.rating, bound, self)
            self.appliances[row] = appliance
            for topic in bound.topics:
                self._of_topic.setdefault(topic, []).append(appliance)
        self.switched = frozenset(row for row, one in self.appliances.items() if one.profile.is_switched)

    def start(self) -> None:
        """Keep the connection, and watch for devices that fall silent."""
        self._supervisor.keep(self.name, self._serve, Backoff(1.0, 60.0))
        self._supervisor.keep(f"{self.name} staleness", self._watch_staleness)

    def remember(self, batch: CommandBatch, took: NDArray[np.bool_]) -> None:
        """Take up commands that were told before a restart of ours: they still end when they run out.

        `took` (shape of its rows): who had taken it; who is found apart from it was moved by somebody else since.
        """
        for at, row in enumerate(batch.rows.tolist()):
            if row in self.appliances:
                self.appliances[row].remember(batch, at, bool(took[at]))

    async def send(self, batch: CommandBatch) -> None:
        """Hand rows over. An expired batch is reported EXPIRED; one that was seen before has no second effect."""
        for at, row in enumerate(batch.rows.tolist()):
            appliance = self.appliances.get(row)
            if appliance is not None:
                appliance.take(batch, at)

    def health(self) -> LinkHealth:
        """Return how the link is; `peers` are the devices whose values are fresh."""
        counts = self.counts
        fresh = sum(a.telemetry.quality is Quality.GOOD for a in self.appliances.values())
        errors = counts.unconfirmed + counts.contended + counts.unreleased + counts.unread
        return LinkHealth(
            self.name, "mqtt", self._session, self._since_ns, fresh, counts.sent, counts.received, counts.rejected,
            errors, self._endings.says(self.clock.now_ns()) or counts.says,
        )  # fmt: skip

    # --- the connection ---------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        settings = self._settings
        client = MqttClient(hello(settings), self._hear)
        try:
            await client.open(settings.host, settings.port, tls_of(settings))
            self._become(Session.ASSOCIATED)
            self._client = client
            await client.subscribe(list(self._of_topic))
            self._become(Session.SYNCING)
            for appliance in self.appliances.values():
                appliance.ask()
            self.counts.healed(BROKER)
            self._become(Session.LIVE)
            for appliance in self.appliances.values():
                appliance.back()
            raise await asyncio.shield(client.lost)
        except (LinkDown, PeerError) as error:
            self.counts.trouble(BROKER, str(error))
            if client.is_ended_by_broker:
                self._endings.take(self.clock.now_ns())
            raise
        finally:
            client.close()
            self._client = None
            self._become(Session.DOWN)
            for appliance in self.appliances.values():
                appliance.telemetry.flag(Quality.COMM_LOST)
            self.teller.flush()

    async def _watch_staleness(self) -> None:
        while True:
            await asyncio.sleep(self._settings.stale_s / 4 / self.speed)
            oldest_ns = self.clock.now_ns() - int(self._settings.stale_s * SECOND_NS)
            for appliance in self.appliances.values():
                telemetry = appliance.telemetry
                if telemetry.quality is not Quality.COMM_LOST and telemetry.taken_ns < oldest_ns:
                    telemetry.flag(Quality.NOT_TOPICAL)

    def _hear(self, message: Publish) -> None:
        self.counts.received += 1
        for appliance in self._of_topic.get(message.topic, []):
            try:
                appliance.hear(message.topic, message.payload, message.retain)
            except PeerError as error:
                self.counts.unread += 1
                self.counts.last_error = str(error)

    def _become(self, session: Session) -> None:
        if session is not self._session:
            self._session, self._since_ns = session, self.clock.now_ns()
            self._intake.health(self.health())

    # --- what devices ask of their link ------------------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether messages can go out now."""
        return self._session is Session.LIVE

    def publish(self, topic: str, payload: bytes, on_ack: Callable[[], None] = lambda: None) -> str:
        """Send a message of QoS 1. Raises LinkDown."""
        if self._client is None:
            raise LinkDown("not connected")
        return self._client.publish(topic, payload, on_ack=on_ack)

    def queue(self, key: int, speak: Callable[[], None]) -> None:
        """Call `speak` when the rate limit allows: at once while no one waits and a turn is free."""
        self._queue[key] = speak
        if self._drain_timer is None:
            self._drain()

    def _drain(self) -> None:
        """Let those who wait speak: a second's worth may go at once, then one every 1 / rate."""
        self._drain_timer = None
        loop, turn_s = asyncio.get_running_loop(), 1.0 / self._settings.rate_per_s
        while self._queue and self.is_live:
            now_s = loop.time()
            next_s = max(self._free_s, now_s - max(1.0, turn_s)) + turn_s
            if next_s > now_s + 1e-6:
                self._drain_timer = loop.call_at(next_s, self._drain)
                return
            self._free_s = next_s
            _, speak = self._queue.popitem(last=False)
            speak()
        self._queue.clear()  # not live: whoever still wants to speak queues again on the next connection

    def alarm(self, text: str) -> None:
        """Tell the operator: in the log, and as the link's last error."""
        self.counts.last_error = text
        _log.warning("device", link=self.name, what=text)
        self._intake.health(self.health())

    def stop(self) -> None:
        """Let all timers go; the connection is its supervisor's to end."""
        for appliance in self.appliances.values():
            appliance.stop()


def check(settings: MqttSettings) -> None:
    """Refuse settings that can't be. Raises ConfigError naming the path."""
    faults = {
        f"$.mqtt.port = {settings.port}: give 1 to 65535": not 0 < settings.port < 65_536,
        f"$.mqtt.keep_alive_s = {settings.keep_alive_s}: give 1 to 65535": not 0 < settings.keep_alive_s < 65_536,
        f"$.mqtt.ack_s = {settings.ack_s:g}: give above 0 to 600": not 0 < settings.ack_s <= 600,
        f"$.mqtt.stale_s = {settings.stale_s:g}: give 1 to less than 1e9": not 1 <= settings.stale_s < 1e9,
        f"$.mqtt.rate_per_s = {settings.rate_per_s:g}: give above 0 to 100000": not 0 < settings.rate_per_s <= 1e5,
        "$.mqtt.user: give one beside the password": settings.password_file is not None and settings.user is None,
        "$.mqtt.authority: give one, as passwords go over TLS or loopback alone": (
            settings.user is not None and settings.authority is None and settings.host not in ("127.0.0.1", "::1")
        ),
        "$.mqtt.certificate, $.mqtt.key: give both, with $.mqtt.authority": (
            (settings.certificate is None) != (settings.key is None)
            or (settings.certificate is not None and settings.authority is None)
        ),
    }
    for text, is_fault in faults.items():
        if is_fault:
            raise ConfigError(text)


def hello(settings: MqttSettings) -> Connect:
    """Return how we greet the broker. Raises ConfigError for a password file that can't be used."""
    password = None
    if settings.password_file is not None:
        try:
            password = Path(settings.password_file).read_bytes().removeprefix(BOM_UTF8).strip()
        except OSError as error:
            raise ConfigError(f"$.mqtt.password_file: {error}") from error
        if not password:
            raise ConfigError(f"$.mqtt.password_file = {settings.password_file!r}: is empty: write the password there")
    return Connect(settings.client_id, True, settings.keep_alive_s, settings.user, password)


def tls_of(settings: MqttSettings) -> ssl.SSLContext | None:
    """Return the context of a broker over TLS; None: in the clear. Raises ConfigError for files that can't be used."""
    if settings.authority is None:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=settings.authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"$.mqtt.authority: {settings.authority}: {error}") from error
    if settings.certificate is not None and settings.key is not None:
        try:
            load_pair(context, Path(settings.certificate), Path(settings.key))
        except ConfigError as error:
            raise ConfigError(f"$.mqtt.certificate, $.mqtt.key: {error}") from None
    return context
