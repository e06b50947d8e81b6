"""Clients: made on first use, one for each alias, and others when the settings are overridden."""

import gevent
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from amphora import AmqpRpcClient, AmqpRpcFanoutClient
from amphora.contrib.django import LazyClient, client, clients, server, servers
from tests.conftest import StartProgram
from tests.contrib.django.conftest import environment_of_project
from tests.support.broker import Broker


def test_a_client_is_made_on_first_use_and_kept():
    assert not client.made

    first = client.real

    assert client.made
    assert client.real is first
    assert clients["default"] is client


def test_many_greenlets_that_use_it_first_share_one_client():
    greenlets = [gevent.spawn(lambda: client.real) for _ in range(20)]

    assert len({greenlet.get() for greenlet in greenlets}) == 1


def test_all_that_the_real_client_has_is_reachable():
    public = {name for name in dir(AmqpRpcClient) if not name.startswith("_")}

    assert public <= set(dir(client))
    assert client.service_name == "django_shop"
    assert client.stats()["calls"] == 0
    assert client.wait_connected(timeout=30)


def test_a_deferred_call_has_its_result_later():
    with server:
        result = client.defer.orders.total(42)

        assert result.get(timeout=30) == {"order": 42, "total": 420}


def test_a_fan_out_alias_has_a_fan_out_client():
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "fan", "BROKER_URL": "memory://", "FANOUT": True}}):
        assert isinstance(client.real, AmqpRpcFanoutClient)


def test_overridden_settings_make_other_clients_and_the_old_ones_end():
    before = client.real
    assert before.wait_connected(timeout=30)

    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "other", "BROKER_URL": "memory://", "TIMEOUT": 5}}):
        assert not before.connected
        inside = client.real
        assert (inside.service_name, list(clients)) == ("other", ["default"])
        with pytest.raises(ImproperlyConfigured, match="no alias 'billing'"):
            clients["billing"]

    assert client.real.service_name == "django_shop"
    assert inside is not client.real
    assert clients["billing"].service_name == "django_billing"


def test_tuning_and_middleware_are_kept_for_the_client_that_is_made():
    seen = []
    stand_in = LazyClient("default")

    @stand_in.tune_function("orders.total")
    def by_order(args, kwargs):
        return f"order_{args[0]}"

    @stand_in.add_middleware
    def note(request, send):
        seen.append((request.function, request.routing_key))
        return send()

    assert not stand_in.made
    stand_in.create_new_request_queue("order_7")
    with servers["default"]:
        result = stand_in.defer.orders.total(7)
        assert server.receive_from_queue("order_7", max_calls=1, timeout=30) == 1
        assert result.get(timeout=30) == {"order": 7, "total": 70}
    stand_in.reset()
    assert seen == [("orders.total", "order_7")]


def test_a_client_that_was_not_used_has_nothing_to_stop():
    client.stop()

    assert not client.made


def test_what_was_deferred_is_sent_before_the_process_ends(start_program: StartProgram, broker: Broker, service: str):
    source = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import django; django.setup()\n"
        "from amphora.contrib.django import client\n"
        "for number in range(100): client.defer(wait_publish=False, timeout=None).note(number)\n"
        "print('done')"
    )
    program = start_program("-c", source, env=environment_of_project(SHOP_BROKER_URL=broker.url, SHOP_SUFFIX=service))
    silent = start_program("-c", source, env=environment_of_project(SHOP_BROKER_URL="amqp://127.0.0.1:1"))

    assert (program.wait(timeout=90), program.lines) == (0, ["done"])
    with broker.channel() as channel:
        _, messages, _ = channel.queue_declare(f"rpc_django_shop{service}_request", passive=True)
    assert messages == 100
    assert silent.wait(timeout=90) == 0
    assert silent.lines[-1].endswith(
        "had not confirmed 100 requests when the process exited; what it did not receive is lost: note (100)"
    )


@pytest.mark.parametrize("stand_in", [clients["default"], servers["default"]], ids=["client", "server"])
def test_looking_for_attributes_makes_no_endpoint(stand_in):
    assert not hasattr(stand_in, "nonsense")
    assert callable(stand_in.stats)
    assert not stand_in.made

    assert stand_in.stats()["reconnects"] == 0
    assert stand_in.made
