"""Run a RabbitMQ cluster for tests: three nodes of this machine that know each other, and no other."""

from collections.abc import Callable

import gevent

from tests.support.broker import Broker
from tests.support.eventually import wait_until

JOIN_TIMEOUT = 120.0


class Cluster:
    """Nodes with ports, names and data of their own, which share one epmd and one cookie.

    Every node is a `Broker`, to be stopped, killed and started; `heal` brings all of them back together.
    """

    def __init__(self, new_node: Callable[[Broker | None], Broker], *, size: int = 3) -> None:
        """Prepare the nodes; nothing starts before `start`.

        Args:
            new_node: prepares a node beside a neighbour, which the first one does not have; see `Broker`.
            size: how many nodes.
        """
        first = new_node(None)
        self.nodes = [first, *(new_node(first) for _ in range(size - 1))]

    def __repr__(self) -> str:
        return f"<Cluster {self.nodes}>"

    @property
    def url(self) -> str:
        """The addresses of all nodes, in their order."""
        return self.url_from(0)

    def url_from(self, first: int) -> str:
        """Return the addresses of all nodes, beginning with the one of that number."""
        return ";".join(node.url for node in self.nodes[first:] + self.nodes[:first])

    def start(self) -> None:
        """Start the nodes and let them make a cluster."""
        first, *others = self.nodes
        # The first brings epmd and the cookie that the others need.
        first.start()
        for starting in [gevent.spawn(node.start) for node in others]:
            starting.get(timeout=JOIN_TIMEOUT)
        for node in others:
            # What `rabbitmqctl stop_app`, `join_cluster` and `start_app` do.
            join = "rabbit_mnesia:join_cluster" if node.release < (3, 12) else "rabbit_db_cluster:join"
            joined = node.eval(
                f"rabbit:stop(), Joined = {join}('{first.node}', disc), rabbit:start(), Joined", timeout=JOIN_TIMEOUT
            )
            assert joined == "ok", joined
        self.wait_whole()

    def heal(self) -> None:
        """Start the nodes that are down, and wait until every node sees all of them."""
        down = [node for node in self.nodes if not node.running]
        for starting in [gevent.spawn(node.start) for node in down]:
            starting.get(timeout=JOIN_TIMEOUT)
        self.wait_whole()

    def close(self) -> None:
        """End all nodes for good."""
        # The first ends the epmd of all.
        for node in reversed(self.nodes):
            node.close()

    def wait_whole(self) -> None:
        """Wait until every node sees all nodes run."""
        names = sorted(node.node for node in self.nodes)
        for node in self.nodes:
            wait_until(
                lambda node=node: sorted(node.eval("rabbit_nodes:all_running()")) == names,  # type: ignore[misc]
                JOIN_TIMEOUT,
                f"{node.node} sees {names}",
            )

    @property
    def living(self) -> Broker:
        """A node that runs."""
        return next(node for node in self.nodes if node.running)

    def leader_of(self, queue: str) -> Broker:
        """Return the node that the leader of a quorum queue, or a classic queue itself, is on."""
        name = self.living.eval(f"""
            {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
            case amqqueue:get_pid(Q) of {{_, Node}} -> Node; Pid -> node(Pid) end
        """)
        return next(node for node in self.nodes if node.node == name)

    def messages_in(self, queue: str) -> int:
        """Return how many messages a quorum queue holds, unacknowledged ones included, as most of its nodes see it."""
        # (What RabbitMQ 4 tells may be some seconds old, and its queues' machine cannot be asked from here.)
        asked = "ra:consistent_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_total/1)"
        if self.living.release >= (4, 0):
            asked = "{ok, proplists:get_value(messages, rabbit_amqqueue:info(Q, [messages])), Q}"
        count: int = self.living.eval(f"""
            {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
            {{ok, Count, _}} = {asked},
            Count
        """)
        return count

    def online_members(self, queue: str) -> set[str]:
        """Return the names of the nodes on which a quorum queue has a member that runs."""
        return set(
            self.living.eval(f"""
                {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
                proplists:get_value(online, rabbit_amqqueue:info(Q, [online]))
            """)
        )
