"""The test suite's RabbitMQ nodes: started, broken and looked into."""

import os

import amqp
import psutil
import pytest

from tests.support.eventually import wait_until


def test_a_broker_shows_what_was_declared(broker, amqp_channel, service):
    amqp_channel.exchange_declare(service, "direct", durable=True, auto_delete=False)
    amqp_channel.queue_declare(service, durable=True, auto_delete=False, arguments={"x-expires": 60_000})
    amqp_channel.queue_bind(service, service, "key")
    amqp_channel.basic_publish(amqp.Message("one"), service, "key")

    wait_until(lambda: broker.queues()[service].messages == 1)
    queue = broker.queues()[service]
    assert (queue.durable, queue.auto_delete, queue.consumers) == (True, False, 0)
    # RabbitMQ 4 reports the type too.
    assert queue.arguments.items() >= {"x-expires": 60_000}.items()
    assert (broker.exchanges()[service].type, broker.exchanges()[service].durable) == ("direct", True)
    assert [(b.destination, b.routing_key) for b in broker.bindings() if b.exchange == service] == [(service, "key")]


def test_connections_can_be_listed_and_closed(own_broker):
    with own_broker.channel() as channel:
        assert [connection.user for connection in own_broker.connections()] == ["guest"]

        own_broker.close_all_connections()

        with pytest.raises(amqp.ConnectionForced):
            channel.connection.drain_events(timeout=5)


def test_a_restarted_broker_keeps_its_port_and_its_data(own_broker, service):
    with own_broker.channel() as channel:
        channel.queue_declare(service, durable=True, auto_delete=False)
        port = own_broker.port

        own_broker.restart()

        # Or a reset: py-amqp answers the broker's close, and the broker is gone by then.
        with pytest.raises((amqp.ConnectionForced, ConnectionResetError)):
            channel.connection.drain_events(timeout=5)
    assert own_broker.port == port
    assert service in own_broker.queues()


def test_a_killed_broker_leaves_nothing_and_starts_again_with_its_data(own_broker, service):
    with own_broker.channel() as channel:
        channel.queue_declare(service, durable=True, auto_delete=False)
    # RabbitMQ answers a declaration before its log of them is written.
    own_broker.eval("mnesia:sync_log()")
    children = psutil.Process(own_broker.pid).children(recursive=True)

    own_broker.kill()

    assert not own_broker.running
    assert psutil.wait_procs(children, timeout=5)[1] == []
    own_broker.start()
    assert service in own_broker.queues()


def test_a_wiped_broker_is_empty(own_broker, service):
    with own_broker.channel() as channel:
        channel.queue_declare(service, durable=True, auto_delete=False)

    own_broker.wipe()

    assert own_broker.queues() == {}


def test_a_paused_broker_answers_nobody_until_it_is_resumed(own_broker):
    own_broker.pause()

    with pytest.raises(OSError, match="timed out"):
        own_broker.connect(connect_timeout=0.2, read_timeout=0.2)

    own_broker.resume()
    own_broker.connect().close()


def test_a_memory_alarm_blocks_publishers_while_it_lasts(own_broker, service):
    with own_broker.channel() as channel:
        channel.queue_declare(service)
        with own_broker.memory_alarm():
            channel.basic_publish(amqp.Message("blocked"), "", service)
            wait_until(lambda: own_broker.connections()[0].state == "blocked")
            assert own_broker.queues()[service].messages == 0

        wait_until(lambda: own_broker.queues()[service].messages == 1)
    assert own_broker.alarms() == []


def test_users_virtual_hosts_and_policies_can_be_added(own_broker, unique_name):
    user, vhost = unique_name("user"), unique_name("vhost")

    own_broker.add_vhost(vhost)
    own_broker.add_user(user, "secret", vhost=vhost)
    own_broker.set_policy("short", "^none$", {"max-length": 1}, apply_to="queues")
    own_broker.clear_policy("short")

    own_broker.connect(userid=user, password="secret", virtual_host=vhost).close()
    with pytest.raises(amqp.AccessRefused):
        own_broker.connect(userid=user, password="wrong", virtual_host=vhost)


def test_a_broker_can_have_a_configuration_of_its_own(start_broker, service):
    broker = start_broker({"max_message_size": 100})

    with broker.channel() as channel:
        channel.queue_declare(service)
        channel.basic_publish(amqp.Message("x" * 101), "", service)
        with pytest.raises(amqp.PreconditionFailed, match="larger than"):
            channel.connection.drain_events(timeout=5)


def test_brokers_are_apart_from_each_other_and_from_the_machines_own(broker, own_broker):
    assert broker.node != own_broker.node
    assert str(os.getpid()) in broker.node
    assert 5672 not in (broker.port, own_broker.port)


def test_the_wire_to_a_broker_can_be_cut(broker, start_proxy):
    proxy = start_proxy(broker)
    connection = broker.connect(host=f"127.0.0.1:{proxy.port}")

    proxy.cut()

    with pytest.raises(ConnectionResetError):
        connection.drain_events(timeout=5)
