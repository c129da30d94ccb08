"""What a service counts, for Prometheus."""

from __future__ import annotations

from typing import Any

from cuvee.errors import Fault, UsageError
from cuvee.serving.service import Service


class Metrics:
    """Counters, times and states of one service; nothing is global, so that several can run in one process.

    Args:
        service: whose version and members are told.
    """

    def __init__(self, service: Service) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            message = "metrics of the service need prometheus_client, which is not installed"
            raise UsageError(Fault("missing-extra", message, hint="pip install 'cuvee[serve]'")) from error
        self._registry = prometheus.CollectorRegistry()
        self._latest = prometheus.generate_latest
        self.content_type: str = prometheus.CONTENT_TYPE_LATEST
        kept = {"registry": self._registry}
        self._requests = prometheus.Counter("cuvee_requests", "Requests answered.", ["path", "status"], **kept)
        self._seconds = prometheus.Histogram("cuvee_request_seconds", "Time of an answer.", ["path"], **kept)
        self._rows = prometheus.Counter("cuvee_rows", "Rows predicted.", **kept)
        self._under_way = prometheus.Gauge("cuvee_requests_under_way", "Requests under way.", **kept)
        version = prometheus.Gauge("cuvee_version", "Version of the ensemble that answers.", **kept)
        version.set_function(lambda: service.ensemble.state.number)
        members = prometheus.Gauge("cuvee_members", "Members of that version.", **kept)
        members.set_function(lambda: len(service.ensemble.state.members))

    def began(self, under_way: int) -> None:
        """So many requests are under way."""
        self._under_way.set(under_way)

    def answered(self, path: str, status: int, seconds: float, rows: int = 0) -> None:
        """A request was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)
        self._rows.inc(rows)

    def text(self) -> Any:
        """All of it in Prometheus' text form."""
        return self._latest(self._registry)
