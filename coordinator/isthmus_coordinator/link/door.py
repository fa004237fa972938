"""Who may come in: looks at every call and every message of a stream, and lets no unforeseen error's text out."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from isthmus.errors import AuthenticationError, IsthmusError
from isthmus_coordinator.roster.members import Roster
from isthmus_trust.certificates import Peer, Role, peer_of
from isthmus_trust.roster import RosterEntry
from isthmus_trust.wire_errors import BUG, metadata_of

TLS = b"TLSv1.3"
_ANYBODY = frozenset({Role.NODE, Role.ANALYST, Role.INVITE})
_NODE = frozenset({Role.NODE})
_ANALYST = frozenset({Role.ANALYST})

# Who may make which call. A call that does not stand here is made by nobody.
WHO_MAY_CALL: dict[str, frozenset[Role]] = {
    "/isthmus.v1.Exchange/Enrol": frozenset({Role.INVITE}),
    "/isthmus.v1.Exchange/Renew": frozenset({Role.NODE, Role.ANALYST}),
    "/isthmus.v1.Exchange/Attach": _NODE,
    "/isthmus.v1.Exchange/Submit": _NODE,
    "/isthmus.v1.Exchange/SubmitWhole": _NODE,
    "/isthmus.v1.Exchange/FetchState": _NODE,
    "/isthmus.v1.Exchange/Decide": _NODE,
    "/isthmus.v1.Exchange/Witness": _NODE,
    "/isthmus.v1.Exchange/Cosign": _NODE,
    "/isthmus.v1.Analyst/ListStudies": _ANALYST,
    "/isthmus.v1.Analyst/GetStudy": _ANALYST,
    "/isthmus.v1.Analyst/ProposeStudy": _ANALYST,
    "/isthmus.v1.Analyst/ListParticipants": _ANALYST,
    "/isthmus.v1.Analyst/Submit": _ANALYST,
    "/isthmus.v1.Analyst/Watch": _ANALYST,
    "/isthmus.v1.Analyst/GetResult": _ANALYST,
    "/isthmus.v1.Analyst/GetModel": _ANALYST,
    "/isthmus.v1.Analyst/Explain": _ANALYST,
    "/isthmus.v1.Analyst/Cancel": _ANALYST,
    "/grpc.health.v1.Health/Check": _ANYBODY,
    "/grpc.health.v1.Health/Watch": _ANYBODY,
}

log = logging.getLogger(__name__)


class Door(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc is published without types
    """Checks TLS version, certificate, role and roster before a call is answered; turns errors into metadata.

    Parameters
    ----------
    roster
        Asked anew at every call and every message.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._on_revoked: Callable[[], None] | None = None

    def on_revoked(self, call: Callable[[], None]) -> None:
        """Have a function called when somebody was turned away because it is no longer on the roster."""
        self._on_revoked = call

    def peer(self, context: Any) -> Peer:
        """Whose connection it is; `AuthenticationError` where TLS is older than 1.3 or the certificate is not ours."""
        authentication = context.auth_context()
        versions = authentication.get("ssl_tls_version", ())
        if list(versions) != [TLS]:
            raise AuthenticationError(
                "OLD_TLS",
                "the connection does not use TLS 1.3; rule: nothing older is spoken here",
                "upgrade what dials, or the box on the way that ends TLS",
            )
        certificates = authentication.get("x509_pem_cert", ())
        if len(certificates) != 1:
            raise AuthenticationError(
                "NO_CERTIFICATE",
                "the connection presented no certificate; rule: both sides show one",
                "join with a token of this coordinator",
            )
        return _peer_of(certificates[0])

    def check(self, peer: Peer) -> RosterEntry:
        """The member's entry, if it may speak now; asked again at every message of a stream."""
        try:
            return self._roster.check(peer)
        except AuthenticationError as error:
            if error.code == "REVOKED" and self._on_revoked is not None:
                self._on_revoked()
            raise

    def admit(self, method: str, context: Any) -> Peer:
        """The peer, if it may make this call now."""
        peer = self.peer(context)
        allowed = WHO_MAY_CALL.get(method, frozenset())
        if peer.role not in allowed:
            raise AuthenticationError(
                "WRONG_ROLE",
                f"{peer.role} {peer.name} may not call {method.rsplit('/', 1)[-1]}; "
                f"rule: only {' or '.join(sorted(allowed)) or 'nobody'} may",
                "use the certificate that was issued for this work",
            )
        if peer.role is not Role.INVITE:
            self.check(peer)
        return peer

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Put the checks before, and the catch-all around, the servicer's own code."""
        handler = continuation(details)
        if handler is None:
            return None
        method = details.method
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler
            inner = handler.stream_stream
            if not handler.request_streaming:
                make, inner = grpc.unary_stream_rpc_method_handler, handler.unary_stream
            return make(
                functools.partial(self._stream, method, inner),
                handler.request_deserializer,
                handler.response_serializer,
            )
        make, inner = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        if handler.request_streaming:
            make, inner = grpc.stream_unary_rpc_method_handler, handler.stream_unary
        return make(
            functools.partial(self._single, method, inner), handler.request_deserializer, handler.response_serializer
        )

    def _single(self, method: str, inner: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        try:
            self.admit(method, context)
            return inner(request, context)
        except BaseException as error:  # noqa: BLE001 - the boundary: nothing may pass it unjudged
            # a fault in a library that is written in Rust is no Exception
            _turn_away(method, error, context)

    def _stream(self, method: str, inner: Callable[[Any, Any], Iterator[Any]], request: Any, context: Any) -> Any:
        try:
            self.admit(method, context)
            yield from inner(request, context)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - the boundary: nothing may pass it unjudged
            _turn_away(method, error, context)


def _turn_away(method: str, error: BaseException, context: Any) -> None:
    """End the call with the error as metadata. What is not one of ours becomes a bug without text."""
    if isinstance(error, grpc.RpcError) or not context.is_active():
        # the caller has gone: there is nobody to tell
        log.info("caller_gone", extra={"call": method})
        told = BUG
    elif isinstance(error, IsthmusError):
        log.info("call_refused", extra={"call": method, "code": error.code})
        told = error
    else:
        log.error("call_failed", exc_info=error, extra={"call": method})
        told = BUG
    context.set_trailing_metadata(metadata_of(told))
    context.abort(grpc.StatusCode[told.grpc_status], told.code)


@functools.lru_cache(maxsize=512)
def _peer_of(pem: bytes) -> Peer:
    return peer_of(pem)
