"""docs/clusters.md, docs/tls.md and docs/security.md: what concerns the broker, with a broker that has it so."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import port_for
import pytest

import amphora
from amphora import AmqpRpcClient, AmqpRpcServer, Forbidden
from tests.conftest import StartBroker
from tests.documentation.conftest import stop_endpoints
from tests.documentation.reader import parse
from tests.support.broker import Broker
from tests.support.certificates import Authority
from tests.support.consoles import entries
from tests.support.fragments import at, run_fragment
from tests.support.pages import Reading


@pytest.fixture
def made() -> Iterator[dict[str, Any]]:
    """The public names, and what a page's Python makes with them, which is stopped."""
    names: dict[str, Any] = {name: getattr(amphora, name) for name in amphora.__all__}
    yield names
    stop_endpoints(names)


def call_across(client: AmqpRpcClient, server: AmqpRpcServer) -> None:
    """Insist that a client's call is answered by a server."""
    server.add_function(lambda x, y: x + y, name="add")
    server.serve()
    assert client.call(timeout=60).add(1, 2) == 3


@pytest.mark.page("docs/clusters.md", "Clusters")
def test_client_and_server_take_the_addresses_of_several_nodes(
    page: Reading, made: dict[str, Any], broker_url: str
) -> None:
    block = page.take_one("python")
    source = block.text
    for node in (1, 2, 3):
        # One of them is there.
        here = broker_url if node == 2 else f"amqp://guest:guest@127.0.0.1:{port_for.select_random()}/"
        assert f"amqp://alice:secret@rabbit{node}/" in source
        source = source.replace(f"amqp://alice:secret@rabbit{node}/", here)

    run_fragment(source, made, block.compiled_as)

    call_across(made["client"], made["server"])


@pytest.mark.timeout(300)
@pytest.mark.page("docs/tls.md")
def test_the_broker_wants_a_certificate_and_the_server_has_one(
    page: Reading, made: dict[str, Any], start_broker: StartBroker, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    authority.issue("server", "localhost")
    authority.issue("math", "client")
    port = port_for.select_random()
    config = parse(page.take_one("ini"))
    # The test's own means to look into the node want it.
    assert config.pop("listeners.tcp") == "none"
    assert config.pop("listeners.ssl.default") == "5671"
    config["listeners.ssl.default"] = f"127.0.0.1:{port}"
    broker = start_broker({name: value.replace("/etc/rabbitmq", str(tmp_path)) for name, value in config.items()})
    broker.add_vhost("orders")
    block = page.take_one("python")
    url = f"amqps://guest:guest@localhost:{port}/orders"
    assert "amqps://alice:secret@rabbit.example:5671/orders" in block.text
    source = block.text.replace("amqps://alice:secret@rabbit.example:5671/orders", url)

    run_fragment(source.replace("/etc/amphora", str(tmp_path)), made, block.compiled_as)

    ssl = {"ca_certs": authority.certificate, **{name: str(tmp_path / f"math.{kind}") for name, kind in FILES.items()}}
    made["client"] = AmqpRpcClient("math", broker_url=url, ssl=ssl)
    call_across(made["client"], made["server"])


FILES = {"certfile": "pem", "keyfile": "key"}


@pytest.mark.timeout(300)
@pytest.mark.page("docs/security.md")
def test_a_user_is_added_with_permissions_and_both_sides_have_the_keys(
    page: Reading, made: dict[str, Any], broker: Broker, broker_url: str
) -> None:
    vhost = broker_url.rpartition("/")[2]
    adding, permitting = (shlex.split(entry.command) for entry in entries(page.take("console")))
    password, users, keys = page.take("python")

    assert all(
        given == said
        for given, said in run_fragment(password.text, {"AmqpRpcServer": AmqpRpcServer}, password.compiled_as)
    )
    restricted: dict[str, Any] = {"AmqpRpcServer": AmqpRpcServer, "AmqpRpcClient": AmqpRpcClient}
    run_fragment(at(broker_url, users.text), restricted, users.compiled_as)
    with (
        restricted["server"],
        restricted["client"] as shop,
        pytest.raises(Forbidden, match="is not for the user"),
    ):
        shop.call.refund(5)
    # The password is asked for; the virtual host is that of the test.
    broker.ctl(*adding[1:], "a-secret")
    broker.ctl(permitting[1], "-p", vhost, *permitting[2:])
    run_fragment(at(broker_url, keys.text), made, keys.compiled_as)

    user = permitting[2]
    try:
        assert broker.ctl("list_user_permissions", user).split()[-4:] == [vhost, *permitting[3:]]
        call_across(made["client"], made["server"])
    finally:
        broker.delete_user(user)
