"""The port itself: TLS on both sides, keepalive, limits, health."""

from __future__ import annotations

import errno
import logging
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from isthmus.errors import ConfigError
from isthmus.v1 import analyst_pb2_grpc, exchange_pb2_grpc
from isthmus_coordinator.clock import Clock, moment
from isthmus_coordinator.link.analyst import AnalystServicer
from isthmus_coordinator.link.door import Door
from isthmus_coordinator.link.exchange import ExchangeServicer
from isthmus_trust.authority import Authority
from isthmus_trust.certificates import new_tls_key, read_chain, tls_key_pem

# A thread for each open stream, and some for short calls. They are made when needed.
MAX_CALLS = 256
# Seconds beyond those that open calls are given.
_LEEWAY = 3.0
SERVICES = ("", "isthmus.v1.Exchange", "isthmus.v1.Analyst")
OPTIONS: tuple[tuple[str, int], ...] = (
    # two coordinators on one port would each get half of the calls
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 << 20),
    # results may be longer than what is taken in: an analyst's side says how much it takes
    ("grpc.max_send_message_length", 64 << 20),
    # nodes and analysts ping every 30 s on idle streams; without this they are cut off for pinging too much
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # and we ping them: a half-open connection is seen within 40 s
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC 1.85 waits for a ping's answer by this clock, a minute by default
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

log = logging.getLogger(__name__)


class Certificates:
    """The coordinator's own TLS certificate: made at start, made again at two thirds of its life. No key on disk."""

    def __init__(self, authority: Authority, hosts: tuple[str, ...], clock: Clock) -> None:
        self._authority = authority
        self._hosts = hosts
        self._clock = clock
        self._renew_at = moment(clock())

    def fresh(self) -> grpc.ServerCertificateConfiguration | None:
        """A new certificate where one is due, otherwise None: the present one stays."""
        now = moment(self._clock())
        if now < self._renew_at:
            return None
        key = new_tls_key()
        chain = self._authority.issue_coordinator(key, self._hosts)
        ends = min(certificate.not_valid_after_utc for certificate in read_chain(chain))
        self._renew_at = now + (ends - now) * 2 / 3
        return grpc.ssl_server_certificate_configuration([(tls_key_pem(key), chain)], self._authority.root_pem)


class Port:
    """A gRPC server on one address. `open` returns once it takes calls."""

    def __init__(
        self, certificates: Certificates, door: Door, exchange: ExchangeServicer, analyst: AnalystServicer
    ) -> None:
        self._certificates = certificates
        self._threads = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="call")
        self._server = grpc.server(
            self._threads, interceptors=(door,), options=OPTIONS, maximum_concurrent_rpcs=MAX_CALLS
        )
        exchange_pb2_grpc.add_ExchangeServicer_to_server(exchange, self._server)  # type: ignore[no-untyped-call]
        analyst_pb2_grpc.add_AnalystServicer_to_server(analyst, self._server)  # type: ignore[no-untyped-call]
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for service in SERVICES:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def open(self, host: str, port: int) -> int:
        """Bind and begin to take calls; the port, which is chosen where 0 was asked for.

        Raises
        ------
        ConfigError
            ``PORT_IN_USE`` or ``CANNOT_LISTEN``.
        """
        self.check_free(host, port)
        first = self._certificates.fresh()
        credentials = grpc.dynamic_ssl_server_credentials(first, self._certificates.fresh, True)
        try:
            bound: int = self._server.add_secure_port(address(host, port), credentials)
        except RuntimeError as error:
            raise _in_use(host, port) from error
        if bound == 0:
            raise _in_use(host, port)
        self._server.start()
        return bound

    @staticmethod
    def check_free(host: str, port: int) -> None:
        """Raise `ConfigError` where the address cannot be bound: gRPC's own error would not say why."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # a port that was closed a moment ago is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                probe.listen(1)
        except PermissionError as error:
            raise ConfigError(
                "CANNOT_LISTEN",
                f"this user may not listen on {address(host, port)}; rule: ports below 1024 belong to root",
                "choose a port from 1024, or give the service CAP_NET_BIND_SERVICE",
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(host, port) from error
            raise ConfigError(
                "CANNOT_LISTEN",
                f"cannot listen on {address(host, port)}: {error.strerror}",
                "give an address of this machine as `listen` in coordinator.toml",
            ) from error

    def close(self, seconds: float) -> None:
        """Take no new calls, let open ones end for so long, then end them."""
        self._health.enter_graceful_shutdown()
        # and no longer: gRPC waits two minutes for a caller that went away in the middle of its handshake
        self._server.stop(seconds).wait(seconds + _LEEWAY)
        self._threads.shutdown(wait=False, cancel_futures=True)


def address(host: str, port: int) -> str:
    """``host:port``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_use(host: str, port: int) -> ConfigError:
    return ConfigError(
        "PORT_IN_USE",
        f"port {port} on {host} is in use by another program",
        "stop that program, or change `port` in coordinator.toml (and give the nodes the new address)",
    )
