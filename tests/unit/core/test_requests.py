"""Each row of the table of served requests."""

import itertools
from math import inf

import pytest

from amphora.core.finished import Reply
from amphora.core.receiver import Intake
from amphora.core.requests import Exit, Record, State
from tests.unit.core.served import REPLY, Request, Shop, Token


def states(*requests: Request) -> list[State]:
    return [each.state for each in requests]


def settled(*tokens: Token) -> list[str]:
    return [each.settled for each in tokens]


@pytest.fixture
def shop() -> Shop:
    return Shop()


# Running.


def test_a_request_is_started_run_replied_to_and_acknowledged_in_this_order(shop: Shop) -> None:
    token = Token(1)
    request = shop.deliver(token)
    assert states(request) == [State.STARTING]

    assert shop.begin(request)
    assert states(request) == [State.RUNNING]
    shop.finish(request)
    assert (states(request), token.settled) == ([State.REPLYING], "")
    shop.confirm(request)

    assert (states(request), token.settled, request.exits) == ([State.SETTLED], "ack", [Exit.DONE])
    assert not shop.machine.records


def test_a_request_without_a_client_is_acknowledged_when_its_function_has_ended(shop: Shop) -> None:
    request = shop.run(shop.deliver(client=None))

    assert request.exits == [Exit.DONE]
    assert shop.sent == []


def test_no_more_functions_run_than_there_are_slots_and_the_oldest_is_next(shop: Shop) -> None:
    requests = [shop.deliver(key=number) for number in range(4)]
    assert states(*requests) == [State.STARTING, State.STARTING, State.QUEUED, State.QUEUED]

    shop.run(requests[1])

    assert states(*requests) == [State.STARTING, State.REPLYING, State.STARTING, State.QUEUED]


def test_a_slot_is_free_before_the_reply_is_sent(shop: Shop) -> None:
    requests = [shop.deliver(key=number) for number in range(3)]

    # (`Shop.send` checks that no slot is free while a request waits.)
    shop.run(requests[0])

    assert states(requests[2]) == [State.STARTING]


@pytest.mark.parametrize("begun", [False, True])
def test_a_worker_that_goes_away_gives_its_request_back_and_its_slot(begun: bool) -> None:
    shop = Shop(slots=1)
    token = Token(1)
    request, other = shop.deliver(token), shop.deliver(key="other")
    if begun:
        shop.begin(request)

    shop.machine.ended(request, shop.now)

    assert (request.exits, token.settled) == ([Exit.GIVEN_BACK], "give back")
    assert states(other) == [State.STARTING]


def test_the_end_of_a_worker_changes_nothing_after_a_result(shop: Shop) -> None:
    request = shop.run(shop.deliver())

    shop.machine.ended(request, shop.now)

    assert states(request) == [State.REPLYING]


def test_what_lost_its_delivery_before_it_began_does_not_run() -> None:
    shop = Shop(slots=1)
    receiver = Intake(1, lambda: None)
    request, other = shop.deliver(receiver=receiver), shop.deliver(key="other")
    shop.lose_channel()

    assert not shop.begin(request)

    assert request.exits == [Exit.LOST]
    assert (receiver.taken, receiver.handled) == (0, 0)
    assert states(other) == [State.STARTING]


def test_a_port_that_raises_leaves_no_slot_behind() -> None:
    shop = Shop(slots=1)
    request, other = shop.deliver(client=None), shop.deliver(key="other")
    shop.begin(request)

    def fail(_: Token) -> None:
        raise OSError("broken")

    shop.ack = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="broken"):
        shop.machine.finished(request, REPLY, shop.now)

    assert list(shop.machine.records) == [other]
    assert states(other) == [State.STARTING]


# Requests that are known.


def test_a_request_that_comes_again_while_it_runs_is_acknowledged_with_it(shop: Shop) -> None:
    first, again, late = Token(1), Token(1), Token(1)
    request = shop.deliver(first)
    shop.begin(request)

    assert states(shop.deliver(again)) == [State.SETTLED]
    shop.finish(request)
    shop.deliver(late)
    shop.confirm(request)

    assert settled(first, again, late) == ["ack"] * 3
    assert shop.machine.duplicates == 2
    assert shop.begins == {"k": 1}


def test_a_request_that_comes_again_brings_the_name_of_its_count_along(shop: Shop) -> None:
    request = shop.deliver()
    again = Request(Token(1), redelivered=True)
    again.counter = "count"

    assert shop.machine.recall(again, shop.now)

    assert request.counter == "count"


def test_only_the_deliveries_of_the_present_channel_are_kept(shop: Shop) -> None:
    request = shop.deliver()
    shop.begin(request)

    for _ in range(10):
        shop.lose_channel()
        shop.deliver(redelivered=True)

    assert len(request.tokens) == 1
    shop.confirm(shop.finish(request))


def test_a_finished_request_is_answered_again_with_the_same_reply(shop: Shop) -> None:
    shop.confirm(shop.run(shop.deliver()))
    token = Token(1)

    again = shop.deliver(token)

    assert (states(again), again.reply, token.settled) == ([State.REPLYING], REPLY, "")
    shop.confirm(again)
    assert token.settled == "ack"
    assert shop.begins == {"k": 1}


def test_a_finished_request_whose_reply_was_too_large_to_keep_is_acknowledged() -> None:
    shop = Shop(size=1000)
    request = shop.deliver()
    shop.begin(request)
    shop.confirm(shop.finish(request, Reply("t", bytes(2000))))
    token = Token(1)

    shop.deliver(token)

    assert token.settled == "ack"
    assert shop.sent == []
    assert shop.begins == {"k": 1}


def test_requests_without_an_id_are_different_ones_though_they_are_equal(shop: Shop) -> None:
    requests = [shop.deliver(named=False) for _ in range(2)]

    for request in requests:
        shop.confirm(shop.run(request))

    assert shop.begins == {"k": 2}


def test_a_redelivered_request_without_an_id_joins_an_equal_one_that_lost_its_delivery_and_no_other(shop: Shop) -> None:
    request = shop.deliver(named=False)
    shop.begin(request)
    shop.lose_channel()

    again, other = (shop.deliver(named=False, redelivered=True) for _ in range(2))

    assert states(again, other) == [State.SETTLED, State.STARTING]
    assert shop.machine.duplicates == 1


# Requests that are not taken.


def test_what_has_expired_is_acknowledged_and_does_not_count_for_its_receiver(shop: Shop) -> None:
    receiver, token = Intake(1, lambda: None), Token(1)

    request = shop.deliver(token, deadline=0.0, receiver=receiver, redelivered=True)

    assert (request.exits, token.settled) == ([Exit.EXPIRED], "ack")
    assert receiver.taken == 0


def test_what_expires_while_it_waits_does_not_run(shop: Shop) -> None:
    receiver = Intake(1, lambda: None)
    request = shop.deliver(deadline=5.0, receiver=receiver)
    shop.now = 5.0

    assert not shop.begin(request)

    assert request.exits == [Exit.EXPIRED]
    assert receiver.taken == 0


def test_what_is_not_accepted_is_given_back_but_not_twice_within_a_second(shop: Shop) -> None:
    shop.machine.accepting = False
    first, again = Token(1), Token(1)

    shop.deliver(first)
    request = shop.deliver(again)

    assert settled(first, again) == ["give back", ""]
    assert states(request) == [State.HOLDING]
    shop.advance(1.0)
    assert again.settled == "give back"


def test_a_receiver_that_has_enough_takes_no_more(shop: Shop) -> None:
    receiver = Intake(1, lambda: None)
    tokens = [Token(1), Token(1)]

    for number, token in enumerate(tokens):
        shop.deliver(token, key=number, receiver=receiver)

    assert settled(*tokens) == ["", "give back"]
    assert receiver.taken == 1


def test_what_has_not_begun_goes_back_when_the_server_ends() -> None:
    shop = Shop(slots=2, limit=3)
    tokens = [Token(1) for _ in range(5)]
    requests = [shop.deliver(token, key=number, redelivered=number == 4) for number, token in enumerate(tokens)]
    shop.begin(requests[0])
    shop.machine.accepting = False

    shop.machine.give_back_waiting(shop.now)

    assert settled(*tokens) == ["", *["give back"] * 4]
    assert list(shop.machine.records) == requests[:1]
    shop.check()


def test_an_untrusted_request_is_answered_and_leaves_no_trace(shop: Shop) -> None:
    token = Token(1)
    request = Request(token)

    shop.machine.refuse(request, REPLY, shop.now)
    shop.check()
    trusted = shop.deliver()
    shop.confirm(request)

    assert (token.settled, request.exits) == ("ack", [Exit.REFUSED])
    assert states(trusted) == [State.STARTING]
    shop.confirm(shop.run(trusted))


# Results that are no replies.


def test_an_ignored_request_is_given_back_at_once_and_the_next_time_after_a_moment(shop: Shop) -> None:
    first, again = Token(1), Token(1)
    for token in (first, again):
        request = shop.deliver(token)
        shop.begin(request)
        shop.running.remove(request)
        shop.machine.ignored(request, shop.now)

    assert settled(first, again) == ["give back", ""]
    assert states(request) == [State.HOLDING]
    assert shop.machine.used == 0
    shop.advance(1.0)
    assert again.settled == "give back"


def test_a_held_request_that_comes_again_meanwhile_gives_back_what_is_current(shop: Shop) -> None:
    for _ in range(2):
        request = shop.deliver()
        shop.begin(request)
        shop.running.remove(request)
        shop.machine.ignored(request, shop.now)
    shop.lose_channel()

    shop.advance(1.0)

    assert request.exits == [Exit.LOST]


def test_an_ignored_broadcast_is_acknowledged() -> None:
    shop, token = Shop(drop_ignored=True), Token(1)
    request = shop.deliver(token)
    shop.begin(request)

    shop.machine.ignored(request, shop.now)

    assert (token.settled, request.exits) == ("ack", [Exit.DONE])


@pytest.mark.parametrize("limit", [None, 3])
def test_a_failed_request_without_a_client_is_tried_again_where_tries_are_counted(limit: int | None) -> None:
    shop, token = Shop(limit=limit), Token(1)
    request = shop.deliver(token, client=None)
    shop.begin(request)

    shop.machine.failed(request, REPLY, shop.now)

    if limit is None:
        assert (token.settled, request.exits) == ("ack", [Exit.DONE])
        return
    assert (states(request), token.settled) == ([State.HOLDING], "")
    shop.advance(1.0)
    assert (token.settled, request.exits) == ("give back", [Exit.GIVEN_BACK])


def test_a_failed_request_with_a_client_is_answered(shop: Shop) -> None:
    request = shop.deliver()
    shop.begin(request)

    shop.machine.failed(request, REPLY, shop.now)

    assert states(request) == [State.REPLYING]


@pytest.mark.parametrize("letters", [False, True])
def test_an_unreadable_request_without_a_client_is_dropped_or_buried(letters: bool) -> None:
    shop, token = Shop(letters=letters), Token(1)
    request = shop.deliver(token, client=None)
    shop.begin(request)

    shop.machine.unreadable(request, REPLY, shop.now)

    if not letters:
        assert (token.settled, request.exits) == ("drop", [Exit.DROPPED])
        return
    assert (states(request), token.settled, shop.letters) == ([State.BURYING], "", [request])
    shop.machine.buried(request, None, shop.now)
    assert (token.settled, request.exits) == ("ack", [Exit.BURIED])


def test_an_unreadable_request_with_a_client_is_answered(shop: Shop) -> None:
    request = shop.deliver()
    shop.begin(request)

    shop.machine.unreadable(request, REPLY, shop.now)

    assert states(request) == [State.REPLYING]


def test_a_dead_letter_that_is_refused_is_sent_again_later_and_later(shop: Shop) -> None:
    request = shop.deliver(client=None)
    shop.begin(request)
    shop.machine.unreadable(request, REPLY, shop.now)
    times = [0.0]

    for _ in range(7):
        shop.machine.not_buried(request, shop.now)
        times.append(shop.machine.next_deadline)
        shop.advance(shop.machine.next_deadline - shop.now)

    assert [after - before for before, after in itertools.pairwise(times)] == [1, 2, 4, 8, 16, 30, 30]
    assert len(shop.letters) == 8


def test_a_dead_letter_that_is_given_back_at_once_is_a_request_of_its_own() -> None:
    shop = Shop(limit=2)
    request = shop.deliver(redelivered=True)
    assert shop.machine.tries is not None
    shop.machine.tries.told(request, 2, shop.now)
    assert states(request) == [State.BURYING]

    again = shop.deliver(redelivered=False)

    assert states(again) == [State.STARTING]
    shop.machine.buried(request, REPLY, shop.now)
    shop.confirm(request)
    shop.confirm(shop.run(again))


# Replies that are not taken.


def test_the_queue_of_a_client_is_bound_once_for_all_its_replies() -> None:
    shop = Shop(slots=10)
    requests = [shop.unroutable(shop.run(shop.deliver(key=number))) for number in range(3)]
    assert states(*requests) == [State.PARKED] * 3
    assert shop.looking == requests[:1]

    shop.look("c", found=True)

    assert shop.sent == requests


def test_a_client_without_a_queue_is_looked_for_once_more_and_then_gone_for_a_minute() -> None:
    shop = Shop(slots=10)
    request = shop.unroutable(shop.run(shop.deliver()))
    shop.look("c", found=False)
    assert states(request) == [State.PARKED]
    shop.advance(1.0)
    shop.unroutable(request)
    shop.look("c", found=False)
    assert request.exits == [Exit.ABANDONED]

    at_once = shop.unroutable(shop.run(shop.deliver(key="next")))
    assert at_once.exits == [Exit.ABANDONED]

    shop.advance(61.0)
    later = shop.unroutable(shop.run(shop.deliver(key="later")))
    assert states(later) == [State.PARKED]


def test_a_client_that_was_gone_and_takes_a_reply_is_back() -> None:
    shop = Shop(slots=10)
    request = shop.unroutable(shop.run(shop.deliver()))
    shop.look("c", found=False)
    shop.advance(1.0)
    shop.unroutable(request)
    shop.look("c", found=False)

    shop.confirm(shop.run(shop.deliver(key="next")))

    assert states(shop.unroutable(shop.run(shop.deliver(key="later")))) == [State.PARKED]


def test_a_queue_that_is_deleted_again_and_again_costs_ten_lookups(shop: Shop) -> None:
    request = shop.run(shop.deliver())
    for _ in range(10):
        shop.unroutable(request)
        shop.look("c", found=True)

    shop.unroutable(request)

    assert request.exits == [Exit.ABANDONED]


def test_a_reply_that_a_full_queue_refuses_is_sent_again_later_and_later(shop: Shop) -> None:
    request = shop.run(shop.deliver())
    waits = []
    for _ in range(7):
        shop.nack(request)
        waits.append(shop.machine.next_deadline - shop.now)
        shop.advance(waits[-1])

    assert waits == [1, 2, 4, 8, 16, 30, 30]
    shop.confirm(request)
    assert request.exits == [Exit.DONE]


def test_replies_to_gone_clients_hold_half_of_the_prefetch_at_most() -> None:
    shop = Shop(slots=4)

    requests = [shop.unroutable(shop.run(shop.deliver(key=n, client=f"c{n}"))) for n in range(2000)]

    assert [each.exits for each in requests[:-2]] == [[Exit.ABANDONED]] * 1998
    assert states(*requests[-2:]) == [State.PARKED] * 2


def test_a_full_queue_holds_half_of_the_prefetch_at_most_once_it_has_been_full_for_long() -> None:
    shop = Shop(slots=4)
    requests = [shop.nack(shop.run(shop.deliver(key=n))) for n in range(4)]
    assert states(*requests) == [State.PARKED] * 4

    shop.advance(30.0)
    for each in list(shop.sent):
        shop.nack(each)

    assert states(*requests).count(State.PARKED) == 2
    assert shop.exits == {Exit.ABANDONED: 2}


def test_an_abandoned_request_is_remembered_with_its_reply(shop: Shop) -> None:
    request = shop.run(shop.deliver())
    shop.sent.remove(request)
    shop.machine.reply_lost(request, "too large", shop.now)

    again = shop.deliver()

    assert (states(again), shop.begins) == ([State.REPLYING], {"k": 1})


# Events that come in no state that lists them.


@pytest.mark.parametrize(
    "event",
    [
        "finished",
        "ignored",
        "failed",
        "unreadable",
        "replied",
        "reply_lost",
        "unroutable",
        "nacked",
        "buried",
        "not_buried",
        "proceed",
        "give_up",
        "hold",
    ],
)
@pytest.mark.parametrize("state", [state for state in State if state is not State.NEW])
def test_an_event_that_the_table_does_not_list_changes_nothing(event: str, state: State) -> None:
    shop = Shop(slots=2, limit=3)
    listed = {
        State.RUNNING: {"finished", "ignored", "failed", "unreadable"},
        State.REPLYING: {"replied", "reply_lost", "unroutable", "nacked"},
        State.PARKED: {"reply_lost"},
        State.BURYING: {"buried", "not_buried"},
        State.GATED: {"proceed", "give_up", "hold"},
    }
    request = in_state(shop, state)
    before = shop.machine.unexpected
    more = {"finished": [REPLY], "failed": [REPLY], "unreadable": [REPLY], "buried": [None], "reply_lost": ["why"]}

    getattr(shop.machine, event)(request, *more.get(event, []), shop.now)

    shop.machine.unexpected -= before
    changed = request.state is not state or (state, event) == (State.BURYING, "not_buried")
    if event == "proceed" and state is State.GATED:
        changed = request.state is State.STARTING
    assert changed == (event in listed.get(state, ()))
    assert (shop.machine.unexpected > 0) == (not changed)


def in_state(shop: Shop, state: State) -> Request:
    """Give a request in that state."""
    if state is State.QUEUED:
        for number in range(2):
            shop.deliver(key=number)
    request = shop.deliver(client=None if state is State.BURYING else "c", redelivered=state is State.GATED)
    if state in (State.STARTING, State.QUEUED, State.GATED):
        assert request.state is state
        return request
    shop.begin(request)
    if state is State.BURYING:
        shop.machine.unreadable(request, REPLY, shop.now)
    elif state is State.HOLDING:
        shop.machine.ignored(request, shop.now)
        request = shop.deliver()
        shop.begin(request)
        shop.machine.ignored(request, shop.now)
    elif state is not State.RUNNING:
        shop.finish(request)
    if state is State.PARKED:
        shop.nack(request)
    elif state is State.SETTLED:
        shop.confirm(request)
    assert request.state is state
    return request


def test_a_record_says_what_it_waits_for() -> None:
    record = Record("t", key="k", client=None, named=True, redelivered=False, receiver=None)

    assert (record.state, record.due) == (State.NEW, inf)


@pytest.mark.parametrize("accepting", [True, False])
def test_a_forged_request_changes_nothing_about_the_tries_of_the_genuine_one(accepting: bool) -> None:
    shop = Shop(limit=3)
    tries = shop.machine.tries
    assert tries is not None
    tries.not_begun("k")
    forged = Request(Token(1), key="k")

    if accepting:
        shop.machine.refuse(forged, REPLY, shop.now)
        shop.confirm(forged)
    else:
        shop.machine.accepting = False
        forged.apart = True
        shop.machine.take(forged, shop.now)

    assert forged.state is State.SETTLED
    assert dict(tries._not_begun) == {"k": 1}
