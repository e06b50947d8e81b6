"""Networks that cut, stall, swallow and refuse: no call is lost, and silence is noticed."""

import random
import time
from collections.abc import Callable
from functools import partial

import pytest
from gevent.event import Event

from amphora import NoResult
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.connections import kill_connection
from tests.acceptance.load import Load, outcome_of
from tests.acceptance.work import Work
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Direction, Proxy

StartProxy = Callable[[Broker], Proxy]

CUTS = 12


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
@pytest.mark.parametrize("behind_proxy", ["client", "server"])
def test_calls_survive_connections_cut_in_the_middle_of_frames(
    broker: Broker,
    start_proxy: StartProxy,
    new_client: NewClient,
    new_server: NewServer,
    behind_proxy: str,
    direction: Direction,
) -> None:
    proxy, work = start_proxy(broker), Work()
    urls = {"client": broker.url, "server": broker.url, behind_proxy: proxy.url}
    new_server(urls["server"], work, reconnect_delay_max=0.1)
    client = new_client(urls["client"], reconnect_delay_max=0.1)

    with Load(client) as load:
        for _ in range(CUTS):
            load.wait_for_progress()
            cut = proxy.cut_after(random.randrange(1, 5000), direction)
            assert cut.wait(30)
        load.wait_for_progress()

    load.assert_all_answered()
    # Promise 4: a server process that still remembers a request does not run it again.
    assert work.runs == dict.fromkeys(load.results, 1)


@pytest.mark.parametrize("link", ["client publisher", "client consumer", "server publisher", "server consumer"])
def test_calls_survive_the_loss_of_any_one_connection(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, link: str
) -> None:
    work = Work()
    new_server(broker.url, work, reconnect_delay_max=0.1)
    client = new_client(broker.url, reconnect_delay_max=0.1)

    with Load(client) as load:
        for _ in range(CUTS // 2):
            load.wait_for_progress()
            kill_connection(broker, f"{service} {link}")
        load.wait_for_progress()

    load.assert_all_answered()
    assert work.runs == dict.fromkeys(load.results, 1)


@pytest.mark.parametrize("behind_proxy", ["client", "server"])
def test_a_stalled_network_delays_calls_and_loses_none(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer, behind_proxy: str
) -> None:
    proxy, work = start_proxy(broker), Work()
    urls = {"client": broker.url, "server": broker.url, behind_proxy: proxy.url}
    server, client = new_server(urls["server"], work), new_client(urls["client"])
    assert client.wait_connected(10)
    assert server.wait_connected(10)

    proxy.stall()
    results = [client.defer(wait_publish=False).work(number) for number in range(100)]
    with pytest.raises(NoResult):
        client.call(timeout=0.1).work(100)
    proxy.resume()

    assert [result.get(timeout=20) for result in results] == list(range(100))
    assert proxy.accepted == 2
    assert set(work.runs.values()) == {1}


def test_a_client_notices_a_silent_network_and_reconnects(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, work = start_proxy(broker), Work()
    new_server(broker.url, work)
    client = new_client(proxy.url, heartbeat=1, connect_timeout=1)
    assert client.call.work(1) == 1

    proxy.blackhole()
    held = client.defer(wait_publish=False).work(2)
    wait_until(lambda: "not connected" in str(outcome_of(partial(client.call(timeout=0.1).work, 3))))
    proxy.resume()

    assert held.get(timeout=20) == 2
    assert client.call.work(4) == 4


def test_a_request_that_a_server_holds_behind_a_silent_network_runs_on_another(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, taken = start_proxy(broker), Event()

    def cut_off() -> str:
        proxy.blackhole()
        taken.set()
        return "cut off"

    def connected() -> str:
        return "connected"

    lost = new_server(proxy.url, heartbeat=1, connect_timeout=1)
    lost.add_function(cut_off, name="where")
    client = new_client(broker.url)
    result = client.defer.where()
    assert taken.wait(10)
    other = new_server(broker.url)
    other.add_function(connected, name="where")

    assert result.get(timeout=20) == "connected"
    wait_until(lambda: not lost.connected, message="the silence is noticed")


def test_a_server_comes_back_from_a_silent_network_and_delivers_its_reply(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, begun, go_on = start_proxy(broker), Event(), Event()
    runs = []

    def work() -> str:
        runs.append("run")
        begun.set()
        go_on.wait()
        return "done"

    server = new_server(proxy.url, work, heartbeat=1, connect_timeout=1)
    client = new_client(broker.url)
    result = client.defer.work()
    assert begun.wait(10)

    proxy.blackhole()
    wait_until(lambda: not server.connected, message="the silence is noticed")
    go_on.set()
    proxy.resume()

    assert result.get(timeout=20) == "done"
    assert runs == ["run"]


def test_calls_are_held_while_connections_are_refused(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, work = start_proxy(broker), Work()
    new_server(broker.url, work)
    client = new_client(proxy.url)
    assert client.call.work(1) == 1

    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not client.connected)
    held = client.defer(wait_publish=False).work(2)
    wait_until(lambda: "refused" in str(outcome_of(partial(client.call(timeout=0.1).work, 3))))
    proxy.accept()

    assert held.get(timeout=20) == 2
    assert client.call.work(4) == 4


def test_a_peer_that_accepts_and_never_answers_is_given_up_after_the_connect_timeout(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, work = start_proxy(broker), Work()
    new_server(broker.url, work)
    proxy.blackhole()

    client = new_client(proxy.url, connect_timeout=0.5)
    # Two connections, each tried more than once.
    wait_until(lambda: proxy.accepted >= 6)
    with pytest.raises(NoResult, match="no answer to the handshake"):
        client.call(timeout=0.1).work(1)
    proxy.resume()

    assert client.call.work(2) == 2


def test_a_client_stops_in_time_while_the_network_is_silent(
    broker: Broker, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    proxy, work = start_proxy(broker), Work()
    new_server(broker.url, work)
    client = new_client(proxy.url)
    assert client.call.work(1) == 1
    proxy.blackhole()
    held = client.defer(wait_publish=False).work(2)

    began = time.monotonic()
    client.stop()

    assert time.monotonic() - began < 20
    proxy.resume()
    client.serve()
    assert held.get(timeout=20) == 2
