"""A cluster of three nodes that lose their lives: calls find the way over the others, and none is lost."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, BrokerUnreachable
from tests.acceptance.conftest import NewClient, NewServer, StartServer
from tests.acceptance.connections import connections_of
from tests.acceptance.fates import Fates
from tests.acceptance.load import Load, outcome_of
from tests.acceptance.runs import Runs
from tests.acceptance.work import Work
from tests.conftest import NewCluster, StartProgram
from tests.support.broker import Broker
from tests.support.cluster import Cluster
from tests.support.consoles import shape
from tests.support.eventually import wait_until
from tests.support.pages import Reading

# Starting three nodes counts as part of the first test, and takes its time on a busy machine.
pytestmark = pytest.mark.timeout(300)

CLIENT = Path(__file__).with_name("calling_client.py")

CALLS = 10_000
CLIENTS = 3
#: How many calls of each client have their outcome when the node is killed.
BEFORE = 1_000


@pytest.fixture(scope="module")
def _cluster(new_cluster: NewCluster) -> Iterator[Cluster]:
    cluster = new_cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Three nodes that run and see each other when the test starts, whatever the one before did to them."""
    _cluster.heal()
    return _cluster


def test_classic_queues_of_a_lost_node_are_waited_for(
    cluster: Cluster, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    work, classic = Work(), {"queue_type": "classic"}
    server, client = new_server(cluster.url, work, **classic), new_client(cluster.url, **classic)
    assert client.call.work(1) == 1
    home = cluster.leader_of(f"rpc_{service}_request")

    home.kill()
    wait_until(lambda: not server.connected and not client.connected)
    held = client.defer(wait_publish=False).work(2)
    down = re.compile("is down or inaccessible|no answer")
    wait_until(lambda: down.search(str(outcome_of(partial(client.call(timeout=0.1).work, 0)))), 30)
    cluster.heal()

    assert held.get(timeout=60) == 2
    assert client.call.work(3) == 3
    assert {number: work.runs[number] for number in (1, 2, 3)} == {1: 1, 2: 1, 3: 1}


def test_a_server_works_on_while_the_node_of_its_control_queue_is_down(
    cluster: Cluster, service: str, new_client: NewClient, new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Declared again during the outage, and soon after it, instead of after a minute.
    monkeypatch.setattr("amphora.core.subscriptions._WITHOUT", 5.0)
    work, options = Work(8), {"queue_type": "quorum"}
    server = new_server(cluster.url_from(1), work, connect_timeout=3, **options)
    client = new_client(cluster.url, timeout=120, **options)
    control = f"rpc_{service}_{server.uuid}_control"
    wait_until(lambda: server.connected and client.connected and control in cluster.living.queues(), 30)
    home = cluster.leader_of(control)
    assert home is cluster.nodes[1]

    before = server.stats()["reconnects"]
    home.kill()
    wait_until(lambda: server.stats()["reconnects"] > before and server.connected, 60)
    reconnects = server.stats()["reconnects"]
    results = [client.defer(wait_publish=False).work(number) for number in range(4)]

    assert [result.get() for result in results] == list(range(4))
    assert server.stats()["reconnects"] == reconnects
    assert work.runs == dict.fromkeys(range(4), 1)
    cluster.heal()
    wait_until(lambda: client.inspect.ping(1, limit=1), 120, "the control queue is there again")


def test_calls_go_on_while_the_node_of_the_dead_letters_and_of_a_label_queue_is_down(
    cluster: Cluster, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    first, second, _ = cluster.nodes
    if first.release < (4, 0):
        pytest.skip("this release refuses such declarations at once")
    classic = {"x-queue-type": "classic"}
    dead, label = f"rpc_{service}_dead", f"rpc_{service}_queue_{service}"
    with second.channel() as channel:
        for name in (dead, label):
            channel.queue_declare(name, durable=True, auto_delete=False, arguments=classic)
    assert cluster.leader_of(dead) is cluster.leader_of(label) is second
    second.kill()

    server = new_server(first.url, Work(), delivery_limit=3)
    client = new_client(first.url, timeout=60)
    assert server.wait_connected(60)
    assert [client.call.work(number) for number in range(20)] == list(range(20))
    with pytest.raises(BrokerUnreachable, match=r"is the node of the queue down"):
        client.create_new_request_queue(service)
    assert client.call.work(21) == 21
    assert server.stats()["reconnects"] == client.stats()["reconnects"] == 0
    assert f"no answer about queue {dead!r}" in server._publisher.link.state

    cluster.heal()
    client.create_new_request_queue(service)
    server.receive_from_queue(service, block=False)
    assert client.call(routing_key=service).work(22) == 22
    wait_until(lambda: "no answer" not in server._publisher.link.state, 90)


@pytest.mark.page("docs/clusters.md", "Measured")
def test_ten_thousand_calls_outlive_the_node_that_holds_the_queue_and_connections(
    page: Reading,
    cluster: Cluster,
    service: str,
    start_server: StartServer,
    start_program: StartProgram,
    runs: Runs,
    tmp_path: Path,
) -> None:
    queue, options = f"rpc_{service}_request", {"queue_type": "quorum"}
    for number in range(len(cluster.nodes)):
        start_server(cluster.url_from(number), **options)
    notes = [tmp_path / f"client{number}" for number in range(CLIENTS)]
    clients = [
        start_program(
            CLIENT, cluster.url_from(number), service, notes[number], number, CALLS, CLIENTS, json.dumps(options)
        )
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.wait_for_line(f"outcomes: {BEFORE}$", timeout=60)

    leader = cluster.leader_of(queue)
    connected = links_on(leader, service)
    leader.kill()

    # A client's consumer may be elsewhere, see `declare_queues`.
    assert {"client publisher", "server consumer", "server publisher"} <= set(connected)
    for client in clients:
        assert client.wait(timeout=200) == 0
    fates = Fates(notes)
    # Each call has one outcome, which is its result: no client gave up meanwhile.
    assert fates.outcomes == dict.fromkeys(range(CALLS), 1)
    assert fates.errors == {}
    assert fates.results == {number: number for number in range(CALLS)}
    lost = fates.confirmed - runs.ends.keys()
    twice = [number for number, times in runs.ends.items() if times > 1]
    summary = (
        f"calls={CALLS} outcomes={fates.outcomes.total()} confirmed={len(fates.confirmed)} lost={len(lost)} "
        f"twice={len(twice)} most={max(runs.ends.values())}"
    )
    print(summary)
    assert shape(summary) == shape(page.take_one("").text)
    assert lost == set()
    assert cluster.leader_of(queue) is not leader
    wait_until(lambda: cluster.messages_in(queue) == 0, 30, "the queue is empty: everything is acknowledged")


def test_calls_fail_over_to_the_next_node_and_back_to_one_that_has_come_back(
    cluster: Cluster, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    first, second, _ = cluster.nodes
    url, options = f"{first.url};{second.url}", {"queue_type": "quorum", "uuid": service}
    declare_queues(new_server(url, **options), new_client(url, **options))
    new_server(url, Work(), **options)
    client = new_client(url, **options)

    with Load(client) as load:
        load.wait_for_progress()
        wait_until_on(first, cluster, service)
        first.kill()
        load.wait_for_progress()
        wait_until_on(second, cluster, service)
        cluster.heal()
        second.kill()
        load.wait_for_progress()
        wait_until_on(first, cluster, service)

    load.assert_all_answered()
    assert first.node in cluster.online_members(f"rpc_{service}_request")


def declare_queues(server: AmqpRpcServer, client: AmqpRpcClient) -> None:
    """Let a server and a client declare their quorum queues, and stop.

    Who consumes from one in the moment in which another connection is creating it may get an INTERNAL_ERROR of
    RabbitMQ 3.10, whose members do not run yet. The connection is made again at once, to the next address: fine for
    everybody but who waits for it at the first.
    """
    for endpoint in (server, client):
        assert endpoint.wait_connected(30)
        endpoint.stop()


def links_on(node: Broker, service: str) -> list[str]:
    """Return the connections of a service that this node of the cluster holds, such as "client publisher"."""
    names = [
        each.client_properties["connection_name"]
        for pid, each in connections_of(node, service).items()
        # A process of another node has that node's number in front.
        if pid.startswith("<0.")
    ]
    return sorted(name.removeprefix(f"{service} ").rpartition(" ")[0] for name in names)


def wait_until_on(node: Broker, cluster: Cluster, service: str) -> None:
    """Wait until a node alone has the connections of client and server."""
    everything = ["client consumer", "client publisher", "server consumer", "server publisher"]
    wanted = {each.node: everything if each is node else [] for each in cluster.nodes if each.running}
    wait_until(
        lambda: {each.node: links_on(each, service) for each in cluster.nodes if each.running} == wanted,
        30,
        f"all connections are on {node.node}",
    )
