"""`Errands`: runs synchronous methods of a connection in greenlets of their own, so that none of them blocks its owner.

Since RabbitMQ 4.0 the broker does not answer `queue.declare` of a classic queue whose node is down. An errand without
an answer is *overdue* after a moment: it keeps its channel, and later errands get another one. The broker is asked
something else on that one. If it does not answer that either, the connection is dead (`fault`). If it does, the errand
waits for its answer until its limit, and then ends with `Unanswered`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from amqp.exceptions import AMQPError
from gevent import get_hub

from amphora.core.messages import ChannelCommand
from amphora.driver.ports import ChannelPort, ConnectionPort
from amphora.driver.progress import Silence, Unanswered
from amphora.interrupts import contained, let_through
from amphora.links.side_channel import SideChannel

__all__ = ["Errands", "ask_anything"]

#: Seconds after which an errand is overdue; while others are overdue, it need not be waited for that long.
_OVERDUE, _SOONER = 1.0, 0.05

#: Seconds to wait for an answer while the broker answers others.
_LIMIT = 10.0

#: With so many channels that wait in vain, errands with a limit of their own are not begun.
_ABANDONED = 8


class Errands:
    """Runs commands on channels of one connection while its owner pumps it.

    Args:
        connection: The connection.
        on_overdue: Called with a command that is overdue.
        on_end: Called with a command, its value, and the error that it ended with or None.
        wake: Lets the owner look at `fault`.

    Attributes:
        fault: The error that ended the connection, if an errand has found out.
    """

    def __init__(
        self,
        connection: ConnectionPort,
        *,
        on_overdue: Callable[[ChannelCommand], None],
        on_end: Callable[[ChannelCommand, Any, Exception | None], None],
        wake: Callable[[], None],
    ) -> None:
        self.fault: BaseException | None = None
        self._connection = connection
        self._on_overdue = on_overdue
        self._on_end = on_end
        self._wake = wake
        self._hung: list[ChannelPort] = []
        self._channel = self._new_channel()
        self._running: dict[ChannelCommand, gevent.Greenlet[..., None]] = {}
        self._overdue: set[ChannelCommand] = set()
        self._timers: dict[ChannelCommand, Any] = {}
        self._asking: gevent.Greenlet[..., None] | None = None
        self._ended = False

    def start(self, command: ChannelCommand) -> None:
        """Begin a command; `on_end` follows, unless the connection is lost before."""
        self._running[command] = gevent.spawn(self._carry_out, command, self._channel)
        self._after(_SOONER if self._overdue else _OVERDUE, command, self._on_overdue_now)

    def end(self) -> None:
        """Forget everything: the connection is lost."""
        self._ended = True
        greenlets = [*self._running.values(), *([] if self._asking is None else [self._asking])]
        self._running.clear()
        self._overdue.clear()
        for command in list(self._timers):
            self._stop_timer(command)
        gevent.killall(greenlets, block=False)

    # -- in the greenlet of an errand -------------------------------------------------------

    def _carry_out(self, command: ChannelCommand, channel: SideChannel) -> None:
        try:
            value, error = self._outcome(command, channel)
        except gevent.GreenletExit:
            raise
        except BaseException as interrupt:  # noqa: BLE001  (a signal's handler: the owner raises it where it belongs)
            self._fail(interrupt)
            return
        if self._ended or self.fault is not None:
            return
        self._stop_timer(command)
        self._running.pop(command, None)
        self._overdue.discard(command)
        if channel is not self._channel:
            channel.let_go()
        self._on_end(command, value, error)
        self._wake()

    def _outcome(self, command: ChannelCommand, channel: SideChannel) -> tuple[Any, Exception | None]:
        try:
            return self._run(command, channel), None
        except Unanswered as error:
            return None, error
        except Silence as error:
            self._stop_timer(command)
            # Is it the connection that is silent?
            self._ask()
            return None, Unanswered(f"{error} about a queue", error.seconds)
        except Exception as error:  # noqa: BLE001  (an action may fail with anything)
            let_through(error)
            return None, error

    def _run(self, command: ChannelCommand, channel: SideChannel) -> Any:
        if command.limit is not None and self._is_hanging():
            raise Unanswered(f"no answer yet to {_ABANDONED} other questions about queues")
        return channel.run(command.action)

    def _ask(self) -> bool:
        """Ask the broker for anything on the present channel; return whether it answers."""
        try:
            self._channel.run(ask_anything)
        except Silence as error:
            self._fail(error)
            return False
        except (AMQPError, OSError):
            # It refuses another channel, or the owner finds out by itself that the connection is lost.
            return True
        return True

    def _is_hanging(self) -> bool:
        self._hung[:] = [channel for channel in self._hung if channel.connection is not None]
        return len(self._hung) + len(self._overdue) >= _ABANDONED

    def _fail(self, error: BaseException) -> None:
        self.fault = self.fault or error
        self._wake()

    # -- in the hub -------------------------------------------------------------------------

    def _on_overdue_now(self, command: ChannelCommand) -> None:
        self._overdue.add(command)
        self._channel = self._new_channel()
        self._asking = gevent.spawn(self._ask_for, command)
        self._on_overdue(command)

    def _ask_for(self, command: ChannelCommand) -> None:
        if self._ask() and command in self._running:
            self._after(_LIMIT if command.limit is None else command.limit, command, self._give_up)

    def _give_up(self, command: ChannelCommand) -> None:
        limit = _LIMIT if command.limit is None else command.limit
        self._running[command].throw(Unanswered(f"no answer about a queue for {limit:.3g} s, though to others", limit))

    def _new_channel(self) -> SideChannel:
        return SideChannel(self._connection, self._hung.append)

    def _after(self, seconds: float, command: ChannelCommand, action: Callable[[ChannelCommand], None]) -> None:
        """Have something done with a command, unless it has ended by then."""
        self._stop_timer(command)
        timer = self._timers[command] = get_hub().loop.timer(seconds)
        timer.start(contained, self._on_time, command, action)

    def _on_time(self, command: ChannelCommand, action: Callable[[ChannelCommand], None]) -> None:
        self._stop_timer(command)
        if command in self._running:
            action(command)

    def _stop_timer(self, command: ChannelCommand) -> None:
        timer = self._timers.pop(command, None)
        if timer is not None:
            timer.stop()
            timer.close()


def ask_anything(channel: ChannelPort) -> None:
    """Ask the broker for what every broker that lives answers at once."""
    channel.basic_qos(0, 0, False)
