"""`WorkerPool`: never more than its size at once, in order, each in a context of its own."""

import contextvars
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

import gevent
import pytest
from gevent.event import Event

from amphora.server.worker_pool import WorkerPool
from tests.support.eventually import wait_until

Job = TypeVar("Job")

current_user = contextvars.ContextVar("current_user", default="nobody")


def pool_of(size: int, run: Callable[[Job], object]) -> WorkerPool[Job]:
    pool: WorkerPool[Job] = WorkerPool(size)
    pool.attach(run)  # type: ignore[arg-type]
    return pool


class Workshop:
    """Runs jobs that wait for the door to open, and keeps who was inside."""

    def __init__(self, size: int) -> None:
        self.pool: WorkerPool[int] = pool_of(size, self.run)
        self.open = Event()
        self.begun: list[int] = []
        self.done: list[int] = []
        self.inside = 0
        self.most_inside = 0

    def run(self, job: int) -> None:
        self.begun.append(job)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            self.open.wait()
        finally:
            self.inside -= 1
        self.done.append(job)

    def submit(self, jobs: range) -> None:
        for job in jobs:
            self.pool.submit(job)


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    workshop = Workshop(3)
    yield workshop
    workshop.open.set()


def test_never_more_jobs_than_the_size_run_at_once(workshop: Workshop) -> None:
    workshop.submit(range(20))
    wait_until(lambda: workshop.inside == 3)
    workshop.submit(range(20, 40))
    workshop.open.set()

    wait_until(lambda: len(workshop.done) == 40)

    assert workshop.most_inside == 3


def test_jobs_begin_in_the_order_of_their_submission(workshop: Workshop) -> None:
    workshop.submit(range(10))
    workshop.open.set()

    wait_until(lambda: len(workshop.done) == 10)

    assert workshop.begun == list(range(10))


def test_a_job_submitted_to_idle_workers_runs(workshop: Workshop) -> None:
    workshop.open.set()
    for job in range(10):
        workshop.pool.submit(job)
        wait_until(lambda job=job: job in workshop.done)  # type: ignore[misc]

    assert workshop.done == list(range(10))


def test_greenlets_are_used_again(workshop: Workshop) -> None:
    workshop.open.set()
    for batch in range(20):
        workshop.submit(range(3 * batch, 3 * batch + 3))
        wait_until(lambda batch=batch: len(workshop.done) == 3 * batch + 3)  # type: ignore[misc]

    assert len(workshop.pool._greenlets) == 3


def test_submitting_runs_nothing_at_once(workshop: Workshop) -> None:
    workshop.open.set()

    workshop.pool.submit(1)

    assert workshop.begun == []


def test_jobs_that_have_not_begun_can_be_taken_back(workshop: Workshop) -> None:
    workshop.submit(range(5))
    wait_until(lambda: workshop.inside == 3)

    taken_back = workshop.pool.take_back()
    workshop.open.set()
    wait_until(lambda: workshop.inside == 0)

    assert (taken_back, workshop.done) == ([3, 4], [0, 1, 2])


def test_a_worker_that_was_woken_for_a_job_taken_back_serves_the_next(workshop: Workshop) -> None:
    workshop.open.set()
    workshop.pool.submit(0)
    wait_until(lambda: workshop.done == [0])
    workshop.pool.submit(1)
    workshop.pool.take_back()
    gevent.idle()

    workshop.submit(range(2, 5))

    wait_until(lambda: workshop.done == [0, 2, 3, 4])


def test_a_job_that_ends_its_greenlet_does_not_cost_a_place() -> None:
    outcomes: deque[str] = deque()

    def run(job: str) -> None:
        outcomes.append(job)
        if job == "exit":
            raise gevent.GreenletExit

    pool = pool_of(1, run)
    for job in ("exit", "work"):
        pool.submit(job)
        wait_until(lambda job=job: outcomes and outcomes[-1] == job)  # type: ignore[misc]
        gevent.idle()

    assert list(outcomes) == ["exit", "work"]


def test_jobs_that_wait_are_run_though_the_greenlet_before_them_ended() -> None:
    outcomes: list[str] = []

    def run(job: str) -> None:
        outcomes.append(job)
        if job == "exit":
            raise gevent.GreenletExit

    pool = pool_of(1, run)
    for job in ("exit", "work", "more"):
        pool.submit(job)

    wait_until(lambda: outcomes == ["exit", "work", "more"])


@pytest.mark.parametrize("at_once", [False, True], ids=["some time before the next job", "just before the next job"])
def test_a_greenlet_that_is_killed_while_it_is_idle_does_not_cost_a_job(at_once: bool) -> None:
    workers: list[gevent.Greenlet[[], None]] = []
    pool: WorkerPool[int] = pool_of(1, lambda _: workers.append(gevent.getcurrent()))
    pool.submit(0)
    wait_until(lambda: len(workers) == 1)
    gevent.idle()

    workers[0].kill(block=False)
    if not at_once:
        wait_until(lambda: not pool._greenlets)
    pool.submit(1)

    wait_until(lambda: len(workers) == 2)
    assert workers[0] is not workers[1]


def test_a_dismissed_greenlet_ends_when_it_has_no_job(workshop: Workshop) -> None:
    workshop.submit(range(2))
    wait_until(lambda: workshop.inside == 2)

    workshop.pool.dismiss()
    gevent.idle()
    assert len(workshop.pool._greenlets) == 2
    workshop.open.set()

    wait_until(lambda: not workshop.pool._greenlets)
    assert workshop.done == [0, 1]


def test_idle_greenlets_end_when_they_are_dismissed(workshop: Workshop) -> None:
    workshop.open.set()
    workshop.submit(range(2))
    wait_until(lambda: len(workshop.done) == 2)

    workshop.pool.dismiss()

    wait_until(lambda: not workshop.pool._greenlets)


@pytest.mark.parametrize("at_once", [True, False])
def test_jobs_run_after_the_greenlets_were_dismissed(workshop: Workshop, at_once: bool) -> None:
    workshop.open.set()
    workshop.submit(range(3))
    wait_until(lambda: len(workshop.done) == 3)

    workshop.pool.dismiss()
    if not at_once:
        wait_until(lambda: not workshop.pool._greenlets)
    workshop.submit(range(3, 9))

    wait_until(lambda: workshop.done == list(range(9)))


def test_context_variables_do_not_leak_from_one_job_into_the_next() -> None:
    seen: list[str] = []

    def run(user: str) -> None:
        seen.append(current_user.get())
        current_user.set(user)
        gevent.sleep(0)
        seen.append(current_user.get())

    pool = pool_of(1, run)
    for user in ("Alice", "Bob"):
        pool.submit(user)

    wait_until(lambda: len(seen) == 4)
    assert seen == ["nobody", "Alice", "nobody", "Bob"]


def test_context_variables_do_not_leak_between_jobs_that_run_at_once() -> None:
    seen: dict[str, str] = {}

    def run(user: str) -> None:
        current_user.set(user)
        gevent.sleep(0.01)
        seen[user] = current_user.get()

    pool = pool_of(2, run)
    for user in ("Alice", "Bob"):
        pool.submit(user)

    wait_until(lambda: len(seen) == 2)
    assert seen == {"Alice": "Alice", "Bob": "Bob"}


def test_jobs_run_in_the_context_in_which_the_pool_was_made() -> None:
    seen: list[str] = []
    token = current_user.set("maker")
    try:
        pool: WorkerPool[None] = pool_of(1, lambda _: seen.append(current_user.get()))
    finally:
        current_user.reset(token)

    pool.submit(None)

    wait_until(lambda: seen == ["maker"])


def wait_for_event() -> None:
    event = Event()
    gevent.spawn_later(0.001, event.set)
    event.wait()


def wait_for_greenlet() -> None:
    gevent.spawn(int).get()


def wait_for_thread() -> None:
    gevent.get_hub().threadpool.apply(int)


def wait_for_time() -> None:
    gevent.sleep(0.001)


@pytest.mark.parametrize("leave", [lambda: gevent.Timeout(0.01).start(), lambda: kill_later(gevent.getcurrent())])
@pytest.mark.parametrize("wait", [int, wait_for_event, wait_for_greenlet, wait_for_thread, wait_for_time])
@pytest.mark.parametrize("before", [int, wait_for_event])
def test_what_a_job_leaves_behind_hits_no_other_whatever_it_has_waited_for(
    leave: Callable[[], object], wait: Callable[[], object], before: Callable[[], object]
) -> None:
    hit: list[BaseException] = []
    done = Event()

    def leave_something() -> None:
        leave()
        wait()

    def sleep() -> None:
        try:
            gevent.sleep(0.03)
        except BaseException as error:
            hit.append(error)
            raise
        finally:
            done.set()

    pool: WorkerPool[Callable[[], object]] = pool_of(1, lambda job: job())
    for job in (before, leave_something, sleep):
        pool.submit(job)

    assert done.wait(5)
    pool.dismiss()
    assert hit == []


def kill_later(greenlet: "gevent.Greenlet[..., object]") -> None:
    gevent.spawn_later(0.01, greenlet.kill)
