"""What the option ``ssl=`` makes: contexts that verify, own certificates, and errors that name the file."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from amphora.driver.tls import tls_context
from amphora.exceptions import BrokerUnreachable
from tests.support.certificates import Authority

PASSWORD = "5ecret-of-all"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> dict[str, str]:
    return authority.issue("client", "client")


@pytest.fixture(scope="module")
def locked(authority: Authority, own: dict[str, str]) -> dict[str, str]:
    """A certificate whose key is encrypted."""
    key = load_pem_private_key(Path(own["keyfile"]).read_bytes(), None)
    path = authority.directory / "locked.key"
    encryption = BestAvailableEncryption(PASSWORD.encode())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return {**own, "keyfile": str(path)}


@pytest.mark.parametrize("option", [True, False, {}])
def test_certificates_and_host_names_are_verified_by_default(option: Any) -> None:
    context, name = tls_context(option, "rabbit.example")

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert name == "rabbit.example"


def test_an_authority_of_ones_own_takes_the_place_of_the_systems(authority: Authority) -> None:
    context, _ = tls_context({"ca_certs": authority.certificate}, "localhost")

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_another_server_name_is_verified_where_one_is_given() -> None:
    _, name = tls_context({"server_hostname": "rabbit.internal"}, "10.0.0.7")

    assert name == "rabbit.internal"


def test_the_host_name_alone_can_be_left_unverified() -> None:
    context, _ = tls_context({"check_hostname": False}, "localhost")

    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)


def test_verifying_can_be_switched_off() -> None:
    context, _ = tls_context({"verify": False}, "localhost")

    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)


def test_a_context_is_used_as_it_is() -> None:
    given = ssl.create_default_context()

    assert tls_context(given, "localhost") == (given, "localhost")


def test_a_key_in_the_certificates_file_needs_no_keyfile(own: dict[str, str], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(Path(own["keyfile"]).read_text() + Path(own["certfile"]).read_text())

    tls_context({"certfile": str(both)}, "localhost")


def test_paths_may_be_path_objects(own: dict[str, str]) -> None:
    tls_context({name: Path(path) for name, path in own.items()}, "localhost")


def test_an_encrypted_key_opens_with_its_password(locked: dict[str, str]) -> None:
    tls_context({**locked, "password": PASSWORD}, "localhost")


@pytest.mark.timeout(10)
def test_nobody_is_asked_for_the_password_of_an_encrypted_key(locked: dict[str, str]) -> None:
    with pytest.raises(BrokerUnreachable, match=r"locked\.key.*the key is encrypted: give ssl={'password'"):
        tls_context(locked, "localhost")


def test_a_wrong_password_is_named_and_not_shown(locked: dict[str, str]) -> None:
    with pytest.raises(BrokerUnreachable, match=r"locked\.key.*a wrong password") as caught:
        tls_context({**locked, "password": f"{PASSWORD}-not"}, "localhost")

    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"ca_certs": "absent.pem"}, r"ca_certs 'absent\.pem' cannot be used \(No such file or directory\)"),
        ({"ca_certs": __file__}, r"ca_certs '.*test_tls\.py' cannot be used"),
        (
            {"certfile": "absent.pem"},
            r"certfile 'absent\.pem' with keyfile 'absent\.pem' cannot be used \(No such",
        ),
        ({"certfile": __file__}, r"certfile '.*test_tls\.py'.* cannot be used .*in PEM format"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(option: dict[str, str], text: str) -> None:
    with pytest.raises(BrokerUnreachable, match=text):
        tls_context(option, "localhost")


def test_the_key_of_another_certificate_is_named(authority: Authority, own: dict[str, str]) -> None:
    other = authority.issue("other", "other")

    with pytest.raises(
        BrokerUnreachable, match=r"other\.key' cannot be used \(the key is not that of the certificate\)"
    ):
        tls_context({**own, "keyfile": other["keyfile"]}, "localhost")
