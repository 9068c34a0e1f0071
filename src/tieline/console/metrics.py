"""Prometheus metrics: of the process, links and pool; never a device."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from tieline.desk.screens import Reader


class Metrics:
    """A registry of its own, filled when it is read."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._registry = reader, CollectorRegistry()
        r = self._registry
        self._requests = Counter("tieline_api_requests", "API requests", ("method", "route", "status"), registry=r)
        self.sockets = Gauge("tieline_live_sockets", "Live sockets open", registry=r)
        self.cut = Counter("tieline_live_cut", "Live sockets cut off for being slow", registry=r)
        self._gauges = {
            name: Gauge(f"tieline_{name}", says, registry=r)
            for name, says in (
                ("instructed_watts", "Power owed now"), ("delivered_watts", "Power delivered above base"),
                ("available_up_watts", "Headroom up"), ("available_down_watts", "Headroom down"),
                ("devices", "Devices of the fleet"), ("devices_reporting", "Devices with fit telemetry"),
                ("opt_outs", "Devices taken out by their owners"), ("not_responding", "Devices asked that don't move"),
                ("revision", "Revision of the desk"), ("journal_records", "Records in the journal"),
                ("alarms", "Standing alarms"),
            )
        }  # fmt: skip
        self._links = Gauge("tieline_link_live", "1 where a link is live", ("link", "protocol"), registry=r)
        self._received = Gauge("tieline_link_received", "Messages received by a link", ("link", "protocol"), registry=r)

    def count(self, method: str, route: str, status: int) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()

    def text(self) -> bytes:
        """Return all metrics in the text format."""
        overview, shell = self._reader.overview(), self._reader.shell()
        values = {
            "instructed_watts": overview.instructed_w, "delivered_watts": overview.delivered_w,
            "available_up_watts": overview.available_up_w, "available_down_watts": overview.available_down_w,
            "devices": overview.devices, "devices_reporting": overview.reporting, "opt_outs": overview.opt_outs,
            "not_responding": overview.not_responding, "revision": overview.revision,
            "journal_records": shell.journal_seq, "alarms": len(self._reader.alarms()),
        }  # fmt: skip
        for name, value in values.items():
            self._gauges[name].set(float("nan") if value is None else value)
        for link in shell.links:
            self._links.labels(link.name, link.protocol).set(link.state == "live")
            self._received.labels(link.name, link.protocol).set(link.received)
        return bytes(generate_latest(self._registry))
