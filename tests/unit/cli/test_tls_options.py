"""What the command line and the environment say about TLS, and what is made of it."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from amphora import BrokerError, BrokerUnreachable
from amphora.cli import wording
from amphora.cli.tls import TlsOptions
from amphora.cli.tls_options import with_tls_options
from amphora.cli.wording import with_options_named
from amphora.options import advice

FILES = ("ca.pem", "own.pem", "own.key", "other.pem")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in FILES:
        (tmp_path / each).touch()
    monkeypatch.chdir(tmp_path)


def read(arguments: list[str], env: dict[str, str] | None = None) -> TlsOptions:
    """Return what a command makes of its command line and its environment."""
    found: list[TlsOptions] = []

    @click.command()
    @with_tls_options
    @click.pass_context
    def command(context: click.Context) -> None:
        found.append(TlsOptions.of(context))

    result = CliRunner().invoke(
        command, arguments, env={f"AMPHORA_TLS_{name}": each for name, each in (env or {}).items()}
    )
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize(
    ("arguments", "env", "given", "default"),
    [
        ([], {}, {}, {}),
        (["--tls-ca", "ca.pem"], {}, {"ca_certs": "ca.pem"}, {}),
        ([], {"CA": "ca.pem"}, {}, {"ca_certs": "ca.pem"}),
        (["--tls-ca", "ca.pem"], {"CA": "other.pem"}, {"ca_certs": "ca.pem"}, {}),
        (["--tls-server-name", "rabbit"], {"CA": "ca.pem"}, {"server_hostname": "rabbit"}, {"ca_certs": "ca.pem"}),
        (["--tls-cert", "own.pem"], {"KEY": "own.key"}, {"certfile": "own.pem", "keyfile": "own.key"}, {}),
        (["--tls-key", "own.key"], {"CERT": "own.pem"}, {"certfile": "own.pem", "keyfile": "own.key"}, {}),
        (["--tls-cert", "own.pem"], {"KEY_PASSWORD": "x"}, {"certfile": "own.pem", "password": "x"}, {}),
        ([], {"CERT": "own.pem", "KEY_PASSWORD": "x"}, {}, {"certfile": "own.pem", "password": "x"}),
        ([], {"KEY": "own.key", "KEY_PASSWORD": "x"}, {}, {}),
        ([], {"CA": ""}, {}, {}),
    ],
)
def test_options_are_given_and_variables_are_defaults(
    arguments: list[str], env: dict[str, str], given: dict[str, Any], default: dict[str, Any]
) -> None:
    found = read(arguments, env)

    assert (found.given, found.default) == (given, default)
    assert "x" not in repr(found).removeprefix("TlsOptions")


def test_another_process_gets_what_was_given() -> None:
    options = read(["--tls-ca", "ca.pem", "--tls-server-name", "rabbit"], {"CERT": "own.pem", "KEY_PASSWORD": "secret"})

    assert options.arguments() == ["--tls-ca=ca.pem", "--tls-server-name=rabbit"]
    assert read(options.arguments()).given == options.given


@pytest.mark.parametrize(
    ("url", "made"),
    [
        (None, False),
        ("amqp://here", False),
        ("amqps://here; amqp://there", False),
        ("amqps://here; amqps://there;", {"ca_certs": "ca.pem"}),
    ],
)
def test_variables_leave_plain_brokers_alone(url: str | None, made: Any) -> None:
    assert read([], {"CA": "ca.pem"}).for_brokers(url) == made
    assert read(["--tls-ca", "ca.pem"]).for_brokers(url) == {"ca_certs": "ca.pem"}
    assert read([]).for_brokers(url) is False


def test_errors_name_options() -> None:
    error = BrokerUnreachable(
        f"give the certificate of its authority with {advice.AUTHORITIES} (self-signed)", advice=advice.AUTHORITIES
    )

    assert with_options_named(error) == "give the certificate of its authority with --tls-ca FILE (self-signed)"


def test_an_error_that_advises_nothing_is_shown_as_it_is() -> None:
    assert with_options_named(BrokerError("it says ssl={'ca_certs': ...}")) == "it says ssl={'ca_certs': ...}"


def test_every_advice_has_an_option_of_its_own() -> None:
    assert set(wording._INSTEAD) == {getattr(advice, name) for name in advice.__all__}
