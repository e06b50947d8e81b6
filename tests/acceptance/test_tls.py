"""TLS to a broker that wants client certificates: calls, errors that say what is wrong, and everything broken."""

import random
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gevent
import port_for
import pytest

from amphora import AmqpRpcClient, BrokerUnreachable
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.load import Load, outcome_of
from tests.acceptance.work import Work
from tests.conftest import StartBroker
from tests.support.certificates import Authority
from tests.support.eventually import wait_until
from tests.support.proxy import Direction, Proxy

CUTS = 8


class TlsBroker:
    """A node with a TLS port that wants client certificates, and what goes with it.

    Attributes:
        node: The node; its plain port is open too.
        authority: Has signed the broker's certificate, which is for localhost, and signs clients'.
        stranger: An authority that nobody trusts.
        own: What a client needs, as the option `ssl`.
    """

    def __init__(self, authority: Authority, stranger: Authority, new_broker: StartBroker) -> None:
        self.authority, self.stranger = authority, stranger
        self.port = port_for.select_random()
        self.own = authority.issue("client", "client")
        server = authority.issue("server", "localhost")
        self.node = new_broker(authority.listener(self.port, server, mutual=True))

    @property
    def url(self) -> str:
        return self.url_for()

    def url_for(self, *, scheme: str = "amqps", host: str = "localhost", port: int | None = None) -> str:
        return f"{scheme}://guest:guest@{host}:{port or self.port}//"

    @contextmanager
    def expired_certificate(self) -> Iterator[None]:
        """Let the broker show a certificate of yesterday's for the duration of a block."""
        self._renew(expired=True)
        try:
            yield
        finally:
            self._renew(expired=False)

    def _renew(self, *, expired: bool) -> None:
        self.authority.issue("server", "localhost", expired=expired)
        # Source: https://www.rabbitmq.com/docs/ssl#rotate-certs-keys
        self.node.eval("ssl:clear_pem_cache()")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, new_broker: StartBroker) -> Iterator[TlsBroker]:
    directory = tmp_path_factory.mktemp("certificates")
    tls = TlsBroker(Authority(directory / "own"), Authority(directory / "stranger"), new_broker)
    yield tls
    tls.node.close()


@pytest.fixture
def proxy(tls: TlsBroker) -> Iterator[Proxy]:
    with Proxy(tls.port) as proxy:
        yield proxy


# Calls.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_calls_go_over_either_version_of_tls(
    tls: TlsBroker, new_client: NewClient, new_server: NewServer, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=tls.authority.certificate)
    context.load_cert_chain(tls.own["certfile"], tls.own["keyfile"])
    context.maximum_version = version
    work = Work()
    new_server(tls.url, work, ssl=context)
    client = new_client(tls.url, ssl=context)

    results = [client.defer(wait_publish=False).work(number) for number in range(500)]

    assert [result.get(timeout=30) for result in results] == list(range(500))
    assert work.runs == dict.fromkeys(range(500), 1)


def test_large_bodies_go_over_tls_many_at_once(tls: TlsBroker, new_client: NewClient, new_server: NewServer) -> None:
    def mirror(text: str) -> str:
        return text[::-1]

    new_server(tls.url, mirror, ssl=tls.own)
    client = new_client(tls.url, ssl=tls.own)
    bodies = [f"{number:03}" * 1_000_000 for number in range(16)]

    results = [gevent.spawn(client.call.mirror, body) for body in bodies]

    assert [result.get(timeout=60) == body[::-1] for result, body in zip(results, bodies, strict=True)] == [True] * 16


def test_an_amqp_url_is_encrypted_where_ssl_is_given(
    tls: TlsBroker, new_client: NewClient, new_server: NewServer
) -> None:
    url = tls.url_for(scheme="amqp")
    new_server(url, abs, ssl=tls.own)

    assert new_client(url, ssl=tls.own).call.abs(-1) == 1


# What is wrong.


def refusal(client: AmqpRpcClient) -> str:
    """Return what a client's call and its `serve` end with, which says the same."""
    error = outcome_of(client.call(timeout=30).work)
    assert isinstance(error, BrokerUnreachable)
    ending = gevent.spawn(outcome_of, partial(client.serve, nowait=False)).get(timeout=30)
    assert str(ending) == str(error)
    assert "guest:guest" not in str(error)
    return str(error)


@pytest.mark.expects_errors("no TLS with the broker")
def test_a_certificate_of_an_unknown_authority_says_so(tls: TlsBroker, new_client: NewClient) -> None:
    error = refusal(new_client(tls.url, ssl={**tls.own, "ca_certs": tls.stranger.certificate}))

    assert "no trusted authority has signed it: give the certificate of its authority with ssl={'ca_certs'" in error


@pytest.mark.expects_errors("no TLS with the broker")
def test_certificates_are_verified_against_the_systems_authorities_by_default(
    tls: TlsBroker, new_client: NewClient
) -> None:
    assert "no trusted authority has signed it" in refusal(new_client(tls.url))


@pytest.mark.expects_errors("no TLS with the broker")
def test_a_certificate_for_another_host_says_so(tls: TlsBroker, new_client: NewClient) -> None:
    address = refusal(new_client(tls.url_for(host="127.0.0.1"), ssl=tls.own))
    name = refusal(new_client(tls.url, ssl={**tls.own, "server_hostname": "other.example"}))

    assert "not valid for this host name" in address
    assert "certificate is not valid for '127.0.0.1'" in address
    assert "certificate is not valid for 'other.example'" in name


def test_the_server_name_may_differ_from_the_host(tls: TlsBroker, new_client: NewClient, new_server: NewServer) -> None:
    url, named = tls.url_for(host="127.0.0.1"), {**tls.own, "server_hostname": "localhost"}
    new_server(url, abs, ssl=named)

    assert new_client(url, ssl=named).call.abs(-1) == 1


@pytest.mark.expects_errors("no TLS with the broker")
def test_an_expired_certificate_says_so(tls: TlsBroker, new_client: NewClient) -> None:
    with tls.expired_certificate():
        error = refusal(new_client(tls.url, ssl=tls.own))

    assert "certificate is not valid any more: renew it" in error


def test_an_expired_certificate_of_a_running_system_is_waited_out(
    tls: TlsBroker, new_client: NewClient, new_server: NewServer
) -> None:
    server, client = new_server(tls.url, abs, ssl=tls.own), new_client(tls.url, ssl=tls.own)
    assert client.call.abs(-1) == 1

    with tls.expired_certificate():
        tls.node.close_all_connections()
        held = client.defer(wait_publish=False).abs(-2)
        wait_until(lambda: "not valid any more" in str(outcome_of(partial(client.call(timeout=0.1).abs, -3))))
        assert not held.ready()

    assert held.get(timeout=30) == 2
    assert server.wait_connected(30)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.expects_errors("no TLS with the broker")
def test_a_missing_client_certificate_says_so(tls: TlsBroker, new_client: NewClient, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=tls.authority.certificate)
    context.maximum_version = version

    error = refusal(new_client(tls.url, ssl=context))

    assert "it wants a client certificate" in error
    assert "ssl={'certfile': ..., 'keyfile': ...}" in error


@pytest.mark.expects_errors("no TLS with the broker")
def test_a_client_certificate_of_an_unknown_authority_says_so(tls: TlsBroker, new_client: NewClient) -> None:
    strange = tls.stranger.issue("client", "client")

    error = refusal(new_client(tls.url, ssl={**strange, "ca_certs": tls.authority.certificate}))

    assert "it refuses the client certificate, whose authority it does not know" in error


@pytest.mark.expects_errors("no TLS with the broker")
def test_an_expired_client_certificate_says_so(tls: TlsBroker, new_client: NewClient) -> None:
    old = tls.authority.issue("old", "client", expired=True)

    error = refusal(new_client(tls.url, ssl=old))

    assert "it refuses the client certificate, which has expired: renew it" in error


@pytest.mark.expects_errors("cannot be used")
def test_a_file_that_cannot_be_read_says_so(tls: TlsBroker, new_client: NewClient) -> None:
    error = refusal(new_client(tls.url, ssl={"ca_certs": "absent.pem"}))

    assert "ca_certs 'absent.pem' cannot be used (No such file or directory)" in error


@pytest.mark.expects_errors("no TLS with the broker")
def test_a_plain_port_says_so(tls: TlsBroker, new_client: NewClient) -> None:
    error = refusal(new_client(tls.url_for(port=tls.node.port), ssl=tls.own))

    assert "this port speaks plain AMQP: name the broker's TLS port" in error


@pytest.mark.expects_errors("no connection to the broker")
def test_a_tls_port_says_so_to_plain_amqp(tls: TlsBroker, new_client: NewClient) -> None:
    error = refusal(new_client(tls.url_for(scheme="amqp")))

    assert "this port wants TLS: begin the URL with amqps://, or give ssl=" in error


@pytest.mark.expects_errors("no TLS with the broker")
def test_another_address_is_tried_where_one_has_the_wrong_certificate(
    tls: TlsBroker, new_client: NewClient, new_server: NewServer
) -> None:
    wrong = tls.url_for(host="127.0.0.1")
    url = f"{wrong};{tls.url}"
    new_server(url, abs, ssl=tls.own)

    assert new_client(url, ssl=tls.own).call.abs(-1) == 1
    # Where all of them are wrong, there is nothing to wait for.
    assert "not valid for this host name" in refusal(new_client(f"{wrong};{wrong}", ssl=tls.own))


# What breaks.


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
@pytest.mark.parametrize("behind_proxy", ["client", "server"])
def test_calls_survive_tls_connections_cut_in_the_middle_of_records(
    tls: TlsBroker,
    proxy: Proxy,
    new_client: NewClient,
    new_server: NewServer,
    behind_proxy: str,
    direction: Direction,
) -> None:
    work = Work()
    options: dict[str, Any] = {"ssl": tls.own, "reconnect_delay_max": 0.1}
    urls = {"client": tls.url, "server": tls.url, behind_proxy: tls.url_for(port=proxy.port)}
    new_server(urls["server"], work, **options)
    client = new_client(urls["client"], **options)

    with Load(client) as load:
        for _ in range(CUTS):
            load.wait_for_progress()
            # Often in the handshake of the reconnection as well, whose certificates are some 3,000 bytes.
            cut = proxy.cut_after(random.randrange(1, 8000), direction)
            assert cut.wait(30)
        load.wait_for_progress()

    load.assert_all_answered()
    assert work.runs == dict.fromkeys(load.results, 1)


def test_calls_go_on_over_tls_when_a_killed_broker_is_back(
    tls: TlsBroker, new_client: NewClient, new_server: NewServer
) -> None:
    work = Work(seconds=0.05)
    new_server(tls.url, work, ssl=tls.own)
    client = new_client(tls.url, ssl=tls.own)
    results = [client.defer(wait_publish=False).work(number) for number in range(1000)]
    wait_until(lambda: sum(result.ready() for result in results) >= 100, message="calls are answered")

    tls.node.sync()
    tls.node.kill()
    tls.node.start()

    gevent.wait(results, timeout=60)
    assert [result.get(block=False) for result in results] == list(range(1000))
    assert work.runs == dict.fromkeys(range(1000), 1)


def test_a_broker_that_never_answers_the_handshake_is_given_up(
    tls: TlsBroker, proxy: Proxy, new_client: NewClient
) -> None:
    proxy.stall("to_client")
    client = new_client(tls.url_for(port=proxy.port), ssl=tls.own, connect_timeout=0.3)
    wait_until(lambda: "no answer to the handshake" in str(outcome_of(client.call(timeout=0.1).work)))

    proxy.resume()

    assert client.wait_connected(30)
