"""`Receiver`: how many requests one `receive_from_queue` takes, and when it is through."""

from amphora.server.receiver import Receiver


def test_it_takes_any_number_without_a_limit() -> None:
    receiver = Receiver("Alice", None)

    assert all(receiver.take() for _ in range(1000))
    assert not receiver.ended.is_set()


def test_it_takes_no_more_than_max_calls() -> None:
    receiver = Receiver("Alice", 2)

    assert [receiver.take() for _ in range(4)] == [True, True, False, False]
    assert receiver.ended.is_set()


def test_it_has_reached_its_end_only_when_what_it_took_is_finished() -> None:
    receiver = Receiver("Alice", 1)
    receiver.take()

    assert not receiver.reached
    receiver.finish_one()
    assert receiver.reached


def test_without_a_limit_it_never_reaches_an_end() -> None:
    receiver = Receiver("Alice", None)
    receiver.take()
    receiver.finish_one()

    assert not receiver.reached


def test_it_is_idle_until_it_takes_something_and_when_that_is_finished() -> None:
    receiver = Receiver("Alice", None)

    assert receiver.quiet.is_set()
    receiver.take()
    receiver.take()
    receiver.finish_one()
    assert not receiver.quiet.is_set()
    receiver.finish_one()
    assert receiver.quiet.is_set()


def test_it_counts_what_was_finished() -> None:
    receiver = Receiver("Alice", None)
    for _ in range(3):
        receiver.take()
        receiver.finish_one()

    assert receiver.handled == 3


def test_closed_it_takes_nothing() -> None:
    receiver = Receiver("Alice", None)

    receiver.close()

    assert receiver.ended.is_set()
    assert not receiver.take()


def test_a_lost_request_makes_room_for_another() -> None:
    receiver = Receiver("Alice", 1)
    receiver.take()

    receiver.lose_one()

    assert not receiver.ended.is_set()
    assert receiver.quiet.is_set()
    assert receiver.take()


def test_a_lost_request_is_not_counted() -> None:
    receiver = Receiver("Alice", 1)
    receiver.take()
    receiver.lose_one()

    assert (receiver.handled, receiver.reached) == (0, False)


def test_a_closed_receiver_takes_nothing_in_place_of_a_lost_request() -> None:
    receiver = Receiver("Alice", 1)
    receiver.take()
    receiver.close()

    receiver.lose_one()

    assert receiver.quiet.is_set()
    assert not receiver.take()
