"""The channel to the coordinator: mutual TLS, through the site's proxy where there is one."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from urllib.parse import quote

import grpc

from isthmus.errors import IsthmusError
from isthmus.v1 import exchange_pb2, sealed_pb2, study_pb2
from isthmus.v1.exchange_pb2_grpc import ExchangeStub
from isthmus_node.config import Address, NodeConfig, Proxy
from isthmus_trust.key_files import read_secret
from isthmus_trust.wire_errors import error_of

MESSAGE_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timing:
    """How long silence may last, in seconds. A connection that is half open is seen after `ping` + `pong`."""

    ping: float = 30.0
    pong: float = 10.0
    heartbeat: float = 15.0
    connect: float = 10.0
    call: float = 60.0


@dataclass(frozen=True, slots=True)
class Dial:
    """All that is needed to reach the coordinator as ourselves.

    Attributes
    ----------
    authority, chain, key
        PEM: the authority to trust, our certificate and those that lead to the authority, our TLS key.
    """

    address: Address
    authority: bytes
    chain: bytes
    key: bytes = field(repr=False)
    proxy: Proxy | None = None


def dial_of(config: NodeConfig) -> Dial:
    """What a node that has joined dials with; read anew each time, so that a renewed certificate is used."""
    address = config.dial_address()
    home = config.home
    return Dial(
        address=address,
        authority=read_secret(home.authority),
        chain=read_secret(home.certificate),
        key=read_secret(home.tls_key),
        proxy=config.proxy,
    )


class Session:
    """One connection to the coordinator, and the calls that go over it."""

    def __init__(self, channel: grpc.Channel, timing: Timing) -> None:
        self.channel = channel
        self.stub = ExchangeStub(channel)  # type: ignore[no-untyped-call]  # generated without types
        self.timing = timing
        # what goes on the stream beside heartbeats; None ends it
        self.outgoing: queue.SimpleQueue[exchange_pb2.NodeMessage | None] = queue.SimpleQueue()

    def tell(self, waits: exchange_pb2.Waits) -> None:
        """Say on the stream that a task waits for a person; lost with the stream, it is said on the next one."""
        self.outgoing.put(exchange_pb2.NodeMessage(waits=waits))

    def say(self, task: bytes, word: study_pb2.Signed | None, code: str = "") -> None:
        """Say a word of a sealed round, or why there is none; lost with the stream, it is asked for on the next one."""
        said = sealed_pb2.SealedWord(task=task, word=word, code=code)
        self.outgoing.put(exchange_pb2.NodeMessage(sealed=said))


def open_channel(dial: Dial, timing: Timing | None = None) -> grpc.Channel:
    """A channel of its own connection: closing and opening again dials again, with no memory of earlier failures."""
    timing = timing or Timing()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=dial.authority, private_key=dial.key, certificate_chain=dial.chain
    )
    options: list[tuple[str, str | int]] = [
        ("grpc.keepalive_time_ms", int(timing.ping * 1000)),
        ("grpc.keepalive_timeout_ms", int(timing.pong * 1000)),
        # this, not the keepalive timeout, is what ends a connection that swallows pings; unset it is a minute
        ("grpc.http2.ping_timeout_ms", int(timing.pong * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", MESSAGE_LIMIT),
        ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.min_reconnect_backoff_ms", int(timing.connect * 1000)),
        # the dialogue is ours alone: no settings of it from DNS
        ("grpc.service_config_disable_resolution", 1),
    ]
    if dial.proxy is None:
        # the environment was read with the settings; what it says is already in `dial`
        options.append(("grpc.enable_http_proxy", 0))
    else:
        options.append(("grpc.http_proxy", _proxy_url(dial.proxy)))
    return grpc.secure_channel(str(dial.address), credentials, options=options)


def _proxy_url(proxy: Proxy) -> str:
    if not proxy.username:
        return f"http://{proxy.address}"
    return f"http://{quote(proxy.username, safe='')}:{quote(proxy.password, safe='')}@{proxy.address}"


def error_from(error: grpc.RpcError) -> IsthmusError:
    """The error the coordinator meant, or `LinkError` where the call did not reach it."""
    code = error.code() if callable(getattr(error, "code", None)) else grpc.StatusCode.UNKNOWN
    details = error.details() if callable(getattr(error, "details", None)) else ""
    trailing = error.trailing_metadata() if callable(getattr(error, "trailing_metadata", None)) else None
    return error_of(code.name, details or "", trailing)
