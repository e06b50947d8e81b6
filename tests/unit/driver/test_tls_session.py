"""TLS on bytes: handshakes, data in pieces of any size, alerts and ends, without any socket."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from amphora.driver.tls_session import TlsSession

#: Several records.
LARGE = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Server:
    """The other side, on bytes too."""

    def __init__(self, authority: trustme.CA, *, wants_certificate: bool = False) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def take(self, data: bytes) -> None:
        self._incoming.write(data)

    def to_send(self) -> bytes:
        return self._outgoing.read()

    def said(self) -> bytes:
        """Return all that can be decrypted."""
        parts = []
        while True:
            try:
                parts.append(self.tls.read(65536))
            except ssl.SSLWantReadError:
                return b"".join(parts)


@pytest.fixture
def server(authority: trustme.CA) -> Server:
    return Server(authority)


@pytest.fixture
def new_session(authority: trustme.CA) -> Callable[..., TlsSession]:
    def make(name: str = "localhost", **options: Any) -> TlsSession:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        for option, value in options.items():
            setattr(context, option, value)
        return TlsSession(context, name)

    return make


def shake_hands(session: TlsSession, server: Server) -> None:
    done = session.shake_hands(b"")
    while not done:
        server.take(session.to_send())
        try:
            server.tls.do_handshake()
        except ssl.SSLWantReadError:
            assert not done
        done = session.shake_hands(server.to_send())
    server.take(session.to_send())
    server.tls.do_handshake()


@pytest.fixture
def session(new_session: Callable[..., TlsSession], server: Server) -> TlsSession:
    session = new_session()
    shake_hands(session, server)
    return session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_either_version_of_tls_is_spoken(
    new_session: Callable[..., TlsSession], server: Server, version: ssl.TLSVersion
) -> None:
    session = new_session(maximum_version=version)

    shake_hands(session, server)
    session.encrypt(b"ping")
    server.take(session.to_send())

    assert session.version == version.name.replace("_", ".")
    assert server.said() == b"ping"


@pytest.mark.parametrize("size", [1, 5, 4096, 10**6])
def test_what_arrives_in_pieces_of_any_size_is_read(session: TlsSession, server: Server, size: int) -> None:
    server.tls.write(LARGE)
    wire = server.to_send()

    parts = [session.decrypt(wire[start : start + size]) for start in range(0, len(wire), size)]

    assert b"".join(parts) == LARGE
    # Nothing is left inside that no new bytes would bring out.
    assert session.decrypt(b"") == b""


def test_what_is_written_is_taken_whole_without_a_reader(session: TlsSession, server: Server) -> None:
    assert session.encrypt(memoryview(LARGE)) == len(LARGE)
    assert session.encrypt(b"after") == 5
    wire = session.to_send()

    assert session.to_send() == b""
    server.take(wire)
    assert server.said() == LARGE + b"after"


def test_what_was_said_before_a_goodbye_is_read_first(session: TlsSession, server: Server) -> None:
    server.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        server.tls.unwrap()

    assert session.decrypt(server.to_send()) == b"last words"
    assert session.failure is not None
    with pytest.raises(ConnectionResetError, match="closed the connection"):
        session.decrypt(b"")


def test_what_was_said_before_garbage_is_read_first(session: TlsSession, server: Server) -> None:
    server.tls.write(b"last words")

    assert session.decrypt(server.to_send() + b"garbage" * 10) == b"last words"
    with pytest.raises(ssl.SSLError):
        session.decrypt(b"")


def test_an_altered_record_is_an_error_and_gives_nothing(session: TlsSession, server: Server) -> None:
    server.tls.write(b"amount=1")
    wire = bytearray(server.to_send())
    wire[-1] ^= 1

    with pytest.raises(ssl.SSLError):
        session.decrypt(bytes(wire))


def test_a_goodbye_reaches_the_other_side_and_waits_for_nothing(session: TlsSession, server: Server) -> None:
    session.encrypt(b"last words")
    session.say_goodbye()
    server.take(session.to_send())

    assert server.tls.read(100) == b"last words"
    assert server.tls.read(100) == b""


def test_a_goodbye_after_a_failure_is_harmless(session: TlsSession, server: Server) -> None:
    with pytest.raises(ssl.SSLError):
        session.decrypt(b"garbage" * 10)

    session.say_goodbye()
    session.say_goodbye()


def test_a_certificate_for_another_name_ends_the_handshake_and_tells_the_server(
    new_session: Callable[..., TlsSession], server: Server
) -> None:
    session = new_session("other.example")

    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(session, server)

    server.take(session.to_send())
    with pytest.raises(ssl.SSLError, match="alert"):
        server.tls.do_handshake()


def test_an_end_in_the_middle_of_the_handshake_is_an_error(new_session: Callable[..., TlsSession]) -> None:
    session = new_session()
    assert not session.shake_hands(b"")
    session.end_of_input()

    with pytest.raises(ssl.SSLEOFError):
        session.shake_hands(b"")


def test_a_refusal_that_comes_after_the_handshake_is_an_error(
    new_session: Callable[..., TlsSession], authority: trustme.CA
) -> None:
    server = Server(authority, wants_certificate=True)
    session = new_session()
    with pytest.raises(ssl.SSLError, match="peer did not return a certificate"):
        shake_hands(session, server)

    with pytest.raises(ssl.SSLError) as caught:
        session.decrypt(server.to_send())

    assert caught.value.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_a_write_that_has_to_wait_for_a_negotiation_takes_nothing(
    session: TlsSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Negotiating:
        def write(self, data: object) -> int:
            raise ssl.SSLWantReadError

    monkeypatch.setattr(session, "_tls", Negotiating())

    assert session.encrypt(b"later") == 0
