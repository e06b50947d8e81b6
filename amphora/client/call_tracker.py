"""A client's calls, each from its request until its reply, its refusal or its deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from itertools import count
from time import monotonic, time
from typing import Any
from uuid import uuid4

from gevent.event import AsyncResult, Event

from amphora.client.call_timer import CallTimer
from amphora.client.lifetimes import Lifetime
from amphora.core.calls import Calls, Ending, PendingCall
from amphora.core.inbox import ONE_REPLY, Answers, Inbox
from amphora.core.messages import OutgoingMessage
from amphora.driver.incoming_message import IncomingMessage
from amphora.endpoint.log_fields import request_fields
from amphora.exceptions import (
    AmqpRpcException,
    Backlogged,
    BrokerError,
    MessageTooLarge,
    NoResult,
    RequestStage,
    WrongResult,
)
from amphora.links.publisher import Publisher
from amphora.links.restoring import removed
from amphora.links.topology import QueueStatus, Topology, bind_again
from amphora.logs.note_log import NoteLogger
from amphora.protocol.messages import Codec, Failure, Result, message_id_of, request_properties
from amphora.protocol.signatures import Signatures

__all__ = ["CallTracker", "of_call"]

logger = NoteLogger(__name__)


_REPLIED = Ending.REPLIED

#: Seconds after which replies to other clients' requests are looked into again.
_ASK_AGAIN = 60.0

#: Bytes of an untrusted reply that is read for what it claims, and characters of the claim that are shown, at most.
_SMALL, _QUOTED = 4096, 300


class CallTracker:
    """Sends requests and brings their replies to those who wait.

    Args:
        name: What operators see in the log.
        exchange: Name of the request exchange.
        reply_to: Routing key of the replies.
        codec: Encodes requests and reads replies.
        publisher: Takes the requests.
        topology: What the publisher declares.
        default_queue: Whether the service has a request queue of its own, which the topology
            declares again when it is deleted.
        user: The user of the broker whom requests name; None to name none.
        signatures: Signs requests and checks replies; None without signing keys.
        consumers: Asks the broker how many consumers the response queue has.
    """

    def __init__(
        self,
        name: str,
        *,
        exchange: str,
        reply_to: str,
        codec: Codec,
        publisher: Publisher,
        topology: Topology,
        default_queue: bool,
        signatures: Signatures | None,
        consumers: Callable[[], AsyncResult[QueueStatus | None]],
        user: str | None = None,
    ) -> None:
        self._name = name
        self._exchange = exchange
        self._reply_to = reply_to
        self._codec = codec
        self._publisher = publisher
        self._topology = topology
        self._default_queue = default_queue
        self._signatures = signatures
        self._consumers = consumers
        self._ask_again_at = 0.0
        self._user = user
        self._calls = Calls(self)
        self._timer = CallTimer(self._calls.tick)
        # A fresh prefix for each client, also one with a given uuid: ids are never used twice.
        self._id_prefix = f"{uuid4().hex}-"
        self._ids = count(1)
        self._counts = dict.fromkeys(("calls", "replies", "late_replies", "untrusted", "without_result", "refused"), 0)

    def stats(self) -> dict[str, int]:
        """Return the counts that `AmqpRpcClient.stats` documents."""
        return {**self._counts, "pending": len(self._calls.pending)}

    def count_pending(self) -> int:
        """Return how many calls wait for their replies."""
        return len(self._calls.pending)

    def unconfirmed(self) -> list[str]:
        """Return the functions of the requests that the broker has not confirmed, also of those whose callers have
        given up; a name once for each request.
        """
        return [_function_of(message) for message in self._publisher.unconfirmed()]

    def send(
        self,
        function: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        lifetime: Lifetime,
        routing_key: str,
        wait_publish: bool,
        headers: Mapping[str, Any] | None = None,
        tells_deadline: bool = True,
        inbox: Inbox = ONE_REPLY,
    ) -> PendingCall:
        """Send a request; its reply, or the lack of one, comes to ``result`` of the returned call.

        Args:
            function: Name of the remote function.
            args: Its arguments.
            kwargs: Its keyword arguments.
            lifetime: How long it may take; its timeout holds for getting into the outbox too.
            routing_key: Routing key of the request.
            wait_publish: Whether the caller will wait for the call to be ``decided``.
            headers: Further headers of the message, checked by `check_headers`.
            tells_deadline: Whether servers are told the end of the lifetime as a point in time, which they compare
                with their own clock. The broker, which compares no clocks, drops it in any case.
            inbox: Takes the replies.

        Raises:
            Backlogged: The outbox stayed full.
            MessageTooLarge: The request is larger than allowed.
            TypeError: An argument cannot be encoded.
        """
        timeout, ends = lifetime
        result: AsyncResult[Any] = AsyncResult()
        call = PendingCall(self.new_id(), function, timeout, result, inbox)
        if wait_publish:
            call.decided = Event()
        call.message = message = self.write(
            call.id,
            function,
            args,
            kwargs,
            partial(self._on_published, call),
            routing_key=routing_key,
            ends=ends,
            tells_deadline=tells_deadline,
            reply_to=self._reply_to,
            headers=headers,
        )
        deadline = self._calls.open(call, monotonic())
        try:
            self._publisher.publish(message, deadline=deadline)
        except AmqpRpcException as error:
            self._calls.forget(call)
            raise of_call(error, call).with_traceback(error.__traceback__) from error.__cause__
        except BaseException:
            self._calls.forget(call)
            raise
        self._counts["calls"] += 1
        return call

    def write(
        self,
        request_id: str,
        function: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        done: Callable[[OutgoingMessage, AmqpRpcException | None], None],
        *,
        routing_key: str,
        ends: float | None,
        tells_deadline: bool = True,
        reply_to: str | None,
        headers: Mapping[str, Any] | None,
    ) -> OutgoingMessage:
        """Return the message of a request, signed.

        Args:
            request_id: Its message id.
            function: Name of the remote function.
            args: Its arguments.
            kwargs: Its keyword arguments.
            done: Learns what becomes of the message.
            routing_key: Routing key of the request.
            ends: Time (`time.time`) after which it is not sent any more, None for none.
            tells_deadline: See `send`.
            reply_to: Where the reply goes; None for a request without one.
            headers: Further headers of the message.

        Raises:
            MessageTooLarge: The request is larger than allowed.
            TypeError: An argument cannot be encoded.
        """
        body = self._codec.encode_request(function, args, kwargs)
        if len(body) > self._publisher.largest:
            try:
                self._publisher.check_size(body)
            except MessageTooLarge as error:
                error.function = function
                raise
        now = time()
        properties = request_properties(
            request_id,
            reply_to=reply_to,
            content_type=self._codec.content_type,
            timestamp=int(now),
            deadline=ends if tells_deadline else None,
            headers=headers,
        )
        if self._user is not None:
            properties["user_id"] = self._user
        if self._signatures is not None:
            properties = self._signatures.sign_request(properties, body, routing_key=routing_key)
        expires_at = None if ends is None else monotonic() + ends - now
        message = OutgoingMessage(self._exchange, routing_key, properties, body, done, expires_at)
        message.restore = self._restoring
        return message

    def gather(
        self,
        function: str,
        timeout: float,
        *,
        routing_key: str,
        limit: int | None,
        counts: Callable[[Result | Failure], bool],
        headers: Mapping[str, Any] | None = None,
    ) -> list[tuple[Result | Failure, float]]:
        """Send a request that several servers answer; return the answers in time, each with its seconds.

        Args:
            function: Name of the remote function.
            timeout: Seconds to wait for answers.
            routing_key: Routing key of the request.
            limit: How many answers are enough; None to wait for the whole time.
            counts: Tells whether an answer is one of those.
            headers: Headers of the message.

        Raises:
            BrokerError: The broker refuses.
        """
        began = monotonic()
        lifetime = timeout, time() + timeout
        inbox = Answers(limit, counts)
        # A server whose clock is ahead would take the question for too late, and be invisible.
        call = self.send(
            function,
            (),
            {},
            lifetime=lifetime,
            routing_key=routing_key,
            wait_publish=False,
            headers=headers,
            tells_deadline=False,
            inbox=inbox,
        )
        try:
            call.result.wait()
        finally:
            self._calls.forget(call)
        if isinstance(call.refused, BrokerError) and not inbox.answers:
            raise call.refused
        return [(answer, at - began) for answer, at in inbox.answers]

    def new_id(self) -> str:
        """Return an id for a request."""
        return f"{self._id_prefix}{next(self._ids):x}"

    def forget(self, call: PendingCall) -> None:
        """Nothing waits for this call any more; a middleware that watches its result learns of that."""
        self._calls.forget(call)

    def receive(self, delivery: IncomingMessage) -> None:
        """Take a reply."""
        properties = delivery.properties
        message_id = message_id_of(properties)
        if self._signatures is not None and not self._trusts(self._signatures, delivery, message_id):
            return
        call = self._calls.pending.get(message_id or "")
        if call is not None:
            self._calls.reply(call, self._codec.read_reply(properties, delivery.body), monotonic())
            return
        # Given up already, or a second reply: from a fan-out service, or to a redelivery.
        self._counts["late_replies"] += 1
        if message_id is not None and not message_id.startswith(self._id_prefix):
            self._on_foreign()
        logger.debug("%s: reply to a call that has ended", self._name, extra=request_fields(message_id))

    def _on_foreign(self) -> None:
        """A reply to a request of another client: of one that had this uuid before, or of one that has it now."""
        now = monotonic()
        if now >= self._ask_again_at:
            self._ask_again_at = now + _ASK_AGAIN
            self._consumers().rawlink(self._on_consumers)

    def _on_consumers(self, done: AsyncResult[QueueStatus | None]) -> None:
        found = done.value if done.exception is None else None
        if found is not None and found.consumers > 1:
            logger.warning(
                "%s: %d clients use the uuid %r at the same time and receive each other's replies (their calls end in "
                "NoResult): give every client a uuid of its own",
                self._name,
                found.consumers,
                self._reply_to,
            )

    def _trusts(self, signatures: Signatures, delivery: IncomingMessage, message_id: str | None) -> bool:
        """Return whether a reply comes from a holder of a key; one that does not is ignored, and its call goes on."""
        try:
            signatures.check_reply(delivery.properties, delivery.body, client=self._reply_to)
        except WrongResult as error:
            self._counts["untrusted"] += 1
            call = self._calls.pending.get(message_id or "")
            told = str(error) if call is None else self._note_distrust(call, delivery, error)
            logger.warning(
                "%s: reply to request %r: %s",
                self._name,
                message_id,
                told,
                extra=request_fields(message_id, None if call is None else call.function),
                once=("untrusted reply", self._name),
            )
            return False
        return True

    def _note_distrust(self, call: PendingCall, delivery: IncomingMessage, error: WrongResult) -> str:
        call.ignored += 1
        call.distrusted = str(error)
        if len(delivery.body) <= _SMALL:
            # A server that distrusts the request cannot sign its refusal, which alone says what is wrong.
            claim = self._codec.read_reply(delivery.properties, delivery.body)
            if isinstance(claim, Failure):
                call.distrusted += f" (it claims: {repr(claim.error)[:_QUOTED]})"
        return call.distrusted

    def fail_all(self, error: BrokerError) -> None:
        """End every call with an error; none of their requests is sent any more."""
        self._publisher.refuse_all(error)
        self._calls.stop(error)

    def end_endless(self) -> None:
        """End the calls that have no deadline: the client stops."""
        self._calls.stop_endless()
        why = "the client was stopped while the request waited for room in the outbox; it was not sent"
        self._publisher.turn_away(Backlogged(why), only_endless=True)

    def end_all(self) -> None:
        """End every call: its client has stopped for good."""
        self._calls.stop()
        self._publisher.turn_away(Backlogged("the client was stopped; the request was not sent"))

    def _on_published(self, call: PendingCall, _: OutgoingMessage, error: AmqpRpcException | None) -> None:
        if error is None:
            self._calls.confirmed(call)
        elif not self._calls.refused(call, error) and not isinstance(error, NoResult):
            # (One that was held past its deadline has ended with that.)
            logger.warning(
                "%s: request %s to %r: %s",
                self._name,
                call.id,
                call.function,
                error,
                extra=request_fields(call.id, call.function),
            )

    # -- what the machine tells: Ports ------------------------------------------------------

    def decided(self, call: PendingCall) -> None:
        """Wake what waits for the broker to confirm the request."""
        call.decided.set()

    def ended(self, call: PendingCall, how: Ending, detail: Any) -> None:
        """Give a call its outcome."""
        if how is not _REPLIED:
            call.refused = self._error_of(call, how, detail)
            call.result.set_exception(call.refused)
        elif call.inbox is not ONE_REPLY:
            call.result.set(None)
        else:
            self._counts["replies"] += 1
            if self._default_queue and call.message is not None:
                # Where the reply is here, the request need not be sent again. (A broadcast has gone to one
                # server then, which is not to say to all.)
                call.message.arrived = True
            if isinstance(detail, Failure):
                detail.error.function, detail.error.request_id = call.function, call.id
                call.result.set_exception(detail.error)
            else:
                call.result.set(detail.value)
        if call.decided is not None:
            call.decided.set()

    def alarm(self, at: float) -> None:
        """Have the machine look at the time then."""
        self._timer.set(at)

    def _error_of(self, call: PendingCall, how: Ending, detail: Any) -> AmqpRpcException:
        if how is Ending.REFUSED and isinstance(detail, NoResult):
            self._counts["without_result"] += 1
            return self._no_result(call, f": {detail}", stage=detail.stage)
        if how is Ending.REFUSED:
            self._counts["refused"] += 1
            return of_call(detail, call)
        if how is Ending.EXPIRED:
            # (Answers are gathered until the deadline: there it is no failure.)
            self._counts["without_result"] += not call.inbox.partial
            return self._no_result(call, f" within {call.timeout:g} s. {self._how_far(call)}")
        if how is Ending.FORGOTTEN:
            return self._no_result(call, ": its caller was ended")
        if detail is not None:
            return of_call(detail, call)
        return self._no_result(call, f": the client was stopped. {self._how_far(call)}")

    def _restoring(self, message: OutgoingMessage) -> Callable[[Any], Any] | None:
        """Return what may restore the route of a request: its queue, or the binding of its queue, was deleted.

        Client and server both declare the service's own queue. A label's queue is bound again if it lost its binding
        together with the exchange. A deleted one is not created behind the back of the client that removed it.
        """
        routing_key = message.routing_key
        if not routing_key and self._default_queue:
            logger.warning("%s: no request queue any more; declaring it again", self._name, once=self._name)
            return self._topology.declare
        for queue in self._topology.added:
            if queue.routing_key == routing_key:
                return partial(self._bind_again, queue.name, routing_key)
        return None

    def _bind_again(self, queue: str, routing_key: str, channel: Any) -> None:
        if bind_again(queue, self._exchange, routing_key, channel):
            logger.warning(
                "%s: label queue %r had lost its binding with routing key %r; bound it again",
                self._name,
                queue,
                routing_key,
            )
        else:
            self._topology.discard(queue)
            logger.warning("%s: %s", self._name, removed(queue, routing_key))

    def _no_result(self, call: PendingCall, why: str, *, stage: RequestStage | None = None) -> NoResult:
        return NoResult(
            f"No result from {call.function!r}{why}",
            stage=stage or _stage(call),
            timeout=call.timeout,
            function=call.function,
            request_id=call.id,
        )

    def _how_far(self, call: PendingCall) -> str:
        """Return how far the request of a call has come, in words."""
        link, stage = self._publisher.link, _stage(call)
        if stage is RequestStage.CONFIRMED:
            how_far = "The broker confirmed the request, but no reply arrived"
        elif stage is RequestStage.SENT:
            how_far = f"The request was sent, but the broker has not confirmed it ({link.name}: {link.state})"
        else:
            how_far = f"The request was not sent ({link.name}: {link.state})"
        if call.ignored:
            replies = "1 reply was" if call.ignored == 1 else f"{call.ignored} replies were"
            how_far += f". {replies} ignored: {call.distrusted}"
        return how_far


def _stage(call: PendingCall) -> RequestStage:
    if call.accepted:
        return RequestStage.CONFIRMED
    sent = call.message is not None and call.message.sent
    return RequestStage.SENT if sent else RequestStage.NOT_SENT


def _function_of(message: OutgoingMessage) -> str:
    # Its `done` is all that links a message to its call or cast. An attribute for this would cost every call.
    call = message.done.args[0] if isinstance(message.done, partial) else None
    return str(getattr(call, "function", "?"))


def of_call(error: AmqpRpcException, call: Any) -> AmqpRpcException:
    """Return an error, which may be that of many requests, as the one of this call or cast."""
    own = copy(error)
    own.function, own.request_id = call.function, call.id
    own.__cause__ = error.__cause__
    return own
