"""What a chaos run does to its broker, servers, clients and their connections."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import amqp
import gevent

from chaos.stage import LABELS, SERVICE, Member, Stage
from tests.support.proxy import DIRECTIONS

#: Seconds that a harm to connections or processes lasts: from less than anybody notices to more than two heartbeats.
SHORTEST, LONGEST = 0.1, 12.0
#: Seconds between the end of a harm and the next one of the same series.
PAUSE = 1.5


@dataclass
class Event:
    """A harm that was done: what, to whom (member, queue or ``broker``), from when to when (`time.monotonic`)."""

    what: str
    target: str
    began: float
    ended: float


class Harm:
    """Does harm to a stage, chosen by a seeded random generator, and remembers what it did.

    Args:
        stage: What is harmed.
        log: A file that gets a line for each harm.
    """

    def __init__(self, stage: Stage, log: Path) -> None:
        self.events: list[Event] = []
        #: Set when the present harms are the last ones.
        self.ending = False
        self._stage = stage
        self._log = log

    def run_series(self, seed: str) -> None:
        """Do one harm after the other, until `ending`: the seed determines which, to whom, and for how long."""
        chance = random.Random(seed)
        while not self.ending:
            gevent.sleep(chance.expovariate(1 / PAUSE))
            fault = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
            # Each harm has its own source of chance, so that what one of them consumes does not change the next one.
            fault(self, random.Random(chance.random()))

    @contextmanager
    def noted(self, what: str, target: str) -> Iterator[None]:
        """Note a harm that lasts for a block."""
        event = Event(what, target, monotonic(), float("inf"))
        self.events.append(event)
        try:
            yield
        finally:
            event.ended = monotonic()
            with self._log.open("a") as log:
                log.write(f"{event.began:.3f} {event.ended:.3f} {event.what} {event.target}\n")

    # -- processes --------------------------------------------------------------------------

    def kill_server(self, chance: random.Random) -> None:
        """Kill a server, and start another one after a moment."""
        self._kill(chance.choice(self._stage.servers), chance)

    def kill_client(self, chance: random.Random) -> None:
        """Kill a client, and start another one after a moment."""
        self._kill(chance.choice(self._stage.clients), chance)

    def pause_process(self, chance: random.Random) -> None:
        """Freeze a server or a client (SIGSTOP), and let it go on (SIGCONT)."""
        member = chance.choice(self._stage.members)
        seconds = _seconds(chance)
        with member.process_lock, self.noted("process frozen", member.name):
            member.program.pause()
            gevent.sleep(seconds)
            member.program.resume()

    def restart_servers(self, chance: random.Random) -> None:
        """Restart all servers one after the other, each with a grace period for what it runs."""
        for member in self._stage.servers:
            with member.process_lock, self.noted("warm restart", member.name):
                self._end(member)
                member.start()
            gevent.sleep(chance.uniform(0, 1))

    def _end(self, member: Member) -> None:
        try:
            if code := member.end():
                self._stage.complaints.append(f"{member.present.name} ended with {code}:\n{member.program.output}")
        except AssertionError as error:
            self._stage.complaints.append(str(error))
            member.kill()

    def _kill(self, member: Member, chance: random.Random) -> None:
        seconds = chance.uniform(0, 3)
        with member.process_lock, self.noted("process killed", member.name):
            member.kill()
            gevent.sleep(seconds)
            member.start()

    # -- connections ------------------------------------------------------------------------

    def cut(self, chance: random.Random) -> None:
        """Cut the connections of a member, now or after some more bytes."""
        member = chance.choice(self._stage.members)
        after, direction = int(chance.expovariate(1 / 5000)), chance.choice(DIRECTIONS)
        with member.network_lock, self.noted("connection cut", member.name):
            if chance.random() < 0.3:
                member.proxy.cut()
            else:
                member.proxy.cut_after(after, direction).wait(5)

    def stall(self, chance: random.Random) -> None:
        """Let nothing pass in one direction, or in both, for some time."""
        directions = chance.choice([DIRECTIONS, DIRECTIONS[:1], DIRECTIONS[1:]])
        self._disturb("connection stalled", chance, lambda member: member.proxy.stall(*directions))

    def blackhole(self, chance: random.Random) -> None:
        """Swallow everything for some time."""
        self._disturb("connection swallowed", chance, lambda member: member.proxy.blackhole())

    def throttle(self, chance: random.Random) -> None:
        """Let little pass for some time."""
        rate = int(10 ** chance.uniform(3, 5))
        self._disturb("connection throttled", chance, lambda member: member.proxy.throttle(rate))

    def refuse(self, chance: random.Random) -> None:
        """Cut the connections of a member and refuse new ones for some time."""

        def refuse(member: Member) -> None:
            member.proxy.refuse()
            member.proxy.cut()

        self._disturb("connection refused", chance, refuse)

    def _disturb(self, what: str, chance: random.Random, how: Callable[[Member], None]) -> None:
        member, seconds = chance.choice(self._stage.members), _seconds(chance)
        with member.network_lock, self.noted(what, member.name):
            how(member)
            gevent.sleep(seconds)
            member.proxy.throttle(None)
            member.proxy.resume()
            member.proxy.accept()

    # -- the broker -------------------------------------------------------------------------

    def kill_broker(self, chance: random.Random) -> None:
        """Kill the broker, and start it again after a moment."""
        seconds = chance.uniform(0, 3)
        with self._stage.broker_lock, self.noted("broker killed", "broker"):
            self._stage.broker.kill()
            gevent.sleep(seconds)
            self._stage.broker.start()

    def restart_broker(self, chance: random.Random) -> None:
        """Stop the broker in good order, and start it again."""
        with self._stage.broker_lock, self.noted("broker restarted", "broker"):
            self._stage.broker.restart()

    def pause_broker(self, chance: random.Random) -> None:
        """Freeze the broker for some time."""
        with self._stage.broker_lock, self.noted("broker frozen", "broker"):
            self._stage.broker.pause()
            gevent.sleep(_seconds(chance))
            self._stage.broker.resume()

    def raise_alarm(self, chance: random.Random) -> None:
        """Raise a memory alarm, which blocks publishers, and clear it after some time."""
        with self._stage.broker_lock, self.noted("memory alarm", "broker"), self._stage.broker.memory_alarm():
            gevent.sleep(_seconds(chance))

    def close_connections(self, chance: random.Random) -> None:
        """Close all connections as an administrator does."""
        with self._stage.broker_lock, self.noted("connections closed", "broker"):
            self._stage.broker.close_all_connections()

    def close_connection(self, chance: random.Random) -> None:
        """Close a single connection with rabbitmqctl."""
        with self._stage.broker_lock, self.noted("connections closed", "broker"):
            pids = sorted(connection.pid for connection in self._stage.broker.connections())
            if pids:
                pid = pids[int(chance.random() * len(pids))]
                self._stage.broker.eval(
                    f'rabbit_networking:close_connection(list_to_pid("{pid}"), <<"closed by the chaos run">>)'
                )

    def delete_request_queue(self, chance: random.Random) -> None:
        """Delete the service's queue, or a label's, with all that is in it."""
        of_labels = [f"rpc_{SERVICE}_queue_{label}" for label in LABELS]
        self._delete_queue(chance.choice([f"rpc_{SERVICE}_request", *of_labels]))

    def delete_response_queue(self, chance: random.Random) -> None:
        """Delete a client's response queue, with all that is in it."""
        self._delete_queue(f"rpc_{SERVICE}_{chance.choice(self._stage.clients).name}_response")

    def delete_exchange(self, chance: random.Random) -> None:
        """Delete the exchange of the requests or the replies, with its bindings."""
        exchange = f"rpc_{SERVICE}_{chance.choice(['request', 'response'])}"
        with self._stage.broker_lock, self.noted("exchange deleted", exchange):
            self._stage.broker.delete_exchange(exchange)

    def _delete_queue(self, queue: str) -> None:
        with self._stage.broker_lock, self.noted("queue deleted", queue):
            try:
                self._stage.broker.delete_queue(queue)
            except amqp.NotFound:
                # RabbitMQ says so of classic queues only while their process is on its way.
                return


def _seconds(chance: random.Random) -> float:
    """Take a length for a harm: short ones are more frequent."""
    return SHORTEST + (LONGEST - SHORTEST) * chance.random() ** 2


#: All harms, and how often each is taken.
FAULTS: dict[Callable[[Harm, random.Random], None], float] = {
    Harm.kill_server: 8,
    Harm.kill_client: 5,
    Harm.pause_process: 8,
    Harm.restart_servers: 2,
    Harm.cut: 14,
    Harm.stall: 8,
    Harm.blackhole: 8,
    Harm.throttle: 6,
    Harm.refuse: 4,
    Harm.kill_broker: 2,
    Harm.restart_broker: 1,
    Harm.pause_broker: 2,
    Harm.raise_alarm: 3,
    Harm.close_connections: 2,
    Harm.close_connection: 5,
    Harm.delete_request_queue: 1.5,
    Harm.delete_response_queue: 1.5,
    Harm.delete_exchange: 1,
}
