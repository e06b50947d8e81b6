"""Commands speak TLS to a broker that wants a client certificate, and say which option is missing."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import port_for
import pytest

from amphora import AmqpRpcClient
from tests.cli.conftest import READY, Invoke, Shop, StartCommand, open_shop
from tests.conftest import StartBroker
from tests.support.certificates import Authority


class TlsBroker:
    """A node with a TLS port; its plain port is open too.

    Attributes:
        url: Of the TLS port.
        plain_url: Of the other.
        own: What a client needs, as the option `ssl`.
    """

    def __init__(self, directory: Path, new_broker: StartBroker) -> None:
        authority = Authority(directory)
        port = port_for.select_random()
        self.own = authority.issue("client", "client")
        self.node = new_broker(authority.listener(port, authority.issue("server", "localhost"), mutual=True))
        self.url = f"amqps://guest:guest@localhost:{port}//"
        self.address_url = f"amqps://guest:guest@127.0.0.1:{port}//"
        self.plain_url = self.node.url

    @property
    def options(self) -> list[str]:
        return [
            f"--tls-ca={self.own['ca_certs']}",
            f"--tls-cert={self.own['certfile']}",
            f"--tls-key={self.own['keyfile']}",
        ]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, new_broker: StartBroker) -> Iterator[TlsBroker]:
    tls = TlsBroker(tmp_path_factory.mktemp("certificates"), new_broker)
    yield tls
    tls.node.close()


@pytest.fixture
def served(tls: TlsBroker, service: str) -> Iterator[Shop]:
    with open_shop(service, tls.plain_url) as shop:
        yield shop


def test_options_or_variables_let_a_command_in(
    tls: TlsBroker, served: Shop, service: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    call = ("call", service, "add", 1, 2)
    by_options = invoke(*call, "--broker", tls.url, *tls.options)
    other_name = invoke(*call, "--broker", tls.address_url, *tls.options, "--tls-server-name", "localhost")

    monkeypatch.setenv("AMPHORA_TLS_CA", tls.own["ca_certs"])
    monkeypatch.setenv("AMPHORA_TLS_CERT", tls.own["certfile"])
    encrypted = tmp_path / "encrypted.key"
    openssl = ["openssl", "pkey", "-aes256", "-passout", "pass:hush", "-in", tls.own["keyfile"], "-out", encrypted]
    subprocess.run(openssl, check=True)
    monkeypatch.setenv("AMPHORA_TLS_KEY", str(encrypted))
    without_password = invoke(*call, "--broker", tls.url)
    monkeypatch.setenv("AMPHORA_TLS_KEY_PASSWORD", "hush")
    by_variables = invoke(*call, "--broker", tls.url)
    # They are no reason to speak TLS to a broker that is none of those.
    plain = invoke(*call, "--broker", tls.plain_url)

    assert [each.output for each in (by_options, other_name, by_variables, plain)] == ["3\n"] * 4
    assert without_password.exit_code == 4
    assert "the key is encrypted: set AMPHORA_TLS_KEY_PASSWORD" in without_password.stderr


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 4, "give the certificate of its authority with --tls-ca FILE"),
        (["--tls-ca={ca_certs}"], 4, "it wants a client certificate: give one with --tls-cert FILE --tls-key FILE"),
        (["--tls-ca={keyfile}"], 4, "cannot be used (no PEM file"),
        (["--tls-ca=nowhere.pem"], 2, "Invalid value for '--tls-ca' (env var: 'AMPHORA_TLS_CA'): File 'nowhere.pem'"),
        (["--tls-key={keyfile}"], 2, "--tls-key goes with --tls-cert"),
    ],
)
def test_what_is_missing_or_wrong_is_named_as_an_option(
    tls: TlsBroker, invoke: Invoke, options: list[str], status: int, said: str
) -> None:
    result = invoke("ping", "orders", "--broker", tls.url, *(each.format(**tls.own) for each in options))

    assert result.exit_code == status, result.output
    assert said in result.stderr
    assert "ssl={" not in result.stderr


def test_another_name_than_that_of_the_url_is_an_option(tls: TlsBroker, invoke: Invoke) -> None:
    result = invoke("ping", "orders", "--broker", tls.address_url, *tls.options)

    assert "use a name that the certificate bears, or give that with --tls-server-name NAME" in result.stderr


def test_doctor_tells_how_it_is_encrypted_or_why_not(tls: TlsBroker, invoke: Invoke) -> None:
    encrypted = invoke("doctor", "--broker", tls.url, *tls.options)
    untrusted = invoke("doctor", "--broker", tls.url)

    assert encrypted.exit_code == 0
    assert "ok   encryption: TLSv1.3, and the broker's certificate is trusted, until " in encrypted.output
    assert untrusted.exit_code == 4
    assert "--tls-ca FILE" in untrusted.stdout
    assert "-> docs/tls.md" in untrusted.stdout


def test_serve_speaks_tls_for_the_program_in_all_processes(
    tls: TlsBroker, service: str, start_command: StartCommand
) -> None:
    program = start_command("serve", "shop:server", "--broker", tls.url, *tls.options, "--processes", 2)
    for _ in range(2):
        program.wait_for_line(READY, 60)

    with AmqpRpcClient(service, broker_url=tls.url, ssl=tls.own, timeout=60) as client:
        served_at, _, _ = client.call.where()

    assert served_at == tls.url.replace("guest:guest", "guest")
    assert program.terminate(60) == 0
