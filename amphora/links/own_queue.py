"""`OwnQueue`: a queue that may exist with other arguments than it would be declared with."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import gevent
from amqp.exceptions import PreconditionFailed
from kombu import Exchange, Queue

from amphora.driver.ports import ChannelPort
from amphora.links.declare_channel import DeclareAgain
from amphora.links.queue_types import CLASSIC, QUORUM, Form, QueueTypes, release_of
from amphora.links.reply_texts import names_argument
from amphora.logs.note_log import NoteLogger

__all__ = ["OwnQueue"]

logger = NoteLogger(__name__)

#: Seconds before a quorum queue that may have been deleted is declared again. Where RabbitMQ 3 finds a new queue of the
#: same name by the time that it ends the consumers of the deleted one, it moves them to the new queue without a word:
#: messages that it gives to those never leave the broker. Measured on 3.10.8: after 0 s in 12 of 12 cases, after 0.02 s
#: in 6 of 12, after 0.05 s in none. RabbitMQ 4.0 may answer such a declaration with INTERNAL_ERROR, and then with
#: NOT_FOUND for half a minute.
_AFTER_DELETION = 0.2


class _Search(NamedTuple):
    """The forms in the order in which they are tried on one connection, and what the broker has refused."""

    order: list[Form]
    refusals: list[tuple[Form, PreconditionFailed]]

    @property
    def verdict(self) -> PreconditionFailed:
        """The refusal that says most: what differs beside the type, where something does."""
        beside = (
            error for form, error in self.refusals if not form.lacking and not names_argument(error, "'x-queue-type'")
        )
        return next(beside, self.refusals[0][1])


class OwnQueue(Queue):  # type: ignore[misc]
    """A queue, with all the arguments that it is used with where it exists.

    The broker compares the arguments of a declaration with those of the queue, and refuses others (406, AMQP 0-9-1
    1.7.2.1): declaring creates the queue or finds it, in one step, whatever other programs do meanwhile.

    Attributes:
        types: The types of the service's queues.
        forms: The arguments, the usual ones of their type first.
        temporary: Whether it expires.
        leader: The service's own queue, where that has to be known first; see `QueueTypes`.
        leads: Whether this is the service's own queue.
        adapted: Whether the broker has it with arguments that lack something; see `Form`.
        replaces: Whether a queue of this name was deleted a moment ago.
    """

    types: QueueTypes
    forms: Sequence[Form] = ()
    temporary: bool = False
    leader: OwnQueue | None = None
    leads: bool = False
    adapted: bool = False
    replaces: bool = False
    queue_arguments: Any
    _searches: MutableMapping[Any, _Search]
    _declared_on: WeakSet[Any]
    _kept: Form | None = None

    @classmethod
    def of(
        cls,
        name: str,
        exchange: Exchange,
        routing_key: str,
        *,
        types: QueueTypes,
        forms: Sequence[Form],
        temporary: bool = False,
        leader: OwnQueue | None = None,
        leads: bool = False,
    ) -> OwnQueue:
        """Return a durable queue with one binding; see the attributes."""
        queue = cls(name, exchange, routing_key=routing_key, durable=True, auto_delete=False)
        queue.types, queue.forms, queue.temporary = types, forms, temporary
        queue.leader, queue.leads = leader, leads
        queue._searches = WeakKeyDictionary()
        queue._declared_on = WeakSet()
        queue._take(types.in_order(forms, None, temporary=temporary)[0])
        return queue

    def prepare(self, channel: ChannelPort) -> None:
        """Take the arguments that are to be tried first on this connection."""
        self._take(self._search(channel.connection).order[0])

    def declare_on(self, channel: ChannelPort) -> None:
        """Declare it with its exchange and binding.

        Raises:
            DeclareAgain: The broker refuses these arguments; others will be tried.
            ChannelError: The broker refuses it.
        """
        if self.leader is not None and self.types.automatic and self.types.found is None:
            self.leader.declare_on(channel)
        connection = channel.connection
        search = self._search(connection)
        form = search.order[0]
        self._take(form)
        lingers = form.queue_type == QUORUM and release_of(connection) is not None
        if lingers and (self.replaces or connection in self._declared_on):
            gevent.sleep(_AFTER_DELETION)
        try:
            self(channel).declare()
        except PreconditionFailed as error:
            if all(form is not refused for refused, _ in search.refusals):
                search.refusals.append((form, error))
            if len(search.refusals) >= len(self.forms):
                self._kept = None
                self._searches.pop(connection, None)
                raise search.verdict from error
            # (Unless another greenlet has found out meanwhile.)
            if search.order[0] is form:
                search.order.append(search.order.pop(0))
            raise DeclareAgain from error
        search.refusals.clear()
        self.replaces = False
        if lingers:
            self._declared_on.add(connection)
        self._on_declared(form, release_of(connection))

    def _search(self, connection: Any) -> _Search:
        """Return how far it is known which arguments it has on the broker of this connection."""
        if len(self.forms) == 1:
            return _Search(list(self.forms), [])
        search = self._searches.get(connection)
        if search is None:
            search = self._searches[connection] = _Search(self._usual_order(release_of(connection)), [])
            if self._kept is not None:
                search.order.sort(key=lambda form: form is not self._kept)
        return search

    def _usual_order(self, release: tuple[int, int] | None) -> list[Form]:
        return self.types.in_order(self.forms, release, temporary=self.temporary)

    def _take(self, form: Form) -> None:
        self.queue_arguments = dict(form.arguments) or None

    def _on_declared(self, form: Form, release: tuple[int, int] | None) -> None:
        # What is usual for one broker may not be for the next. What lacks something is not for a new queue.
        usual = form is self._usual_order(release)[0]
        self._kept = None if usual or form.lacking else form
        if self.leads:
            self.types.note(form.queue_type, release)
        self.adapted = form.lacking
        if self.adapted:
            self._warn()

    def _warn(self) -> None:
        if self.types.configured == CLASSIC:
            what = "is not a classic queue, but of the default type of its virtual host or node"
        else:
            what = "was declared by an earlier release of Amphora, without the delivery limit of this one"
        logger.warning(
            "queue %r %s. RabbitMQ may drop requests that were delivered more often than its own limit allows (20 by "
            "default since 4.0): set a policy with a higher delivery-limit for it, or declare it again",
            self.name,
            what,
            once=("adapted", self.name),
        )
