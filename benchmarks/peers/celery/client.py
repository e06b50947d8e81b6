"""The Celery client: `apply_async` and `get` from many greenlets."""

from gevent import monkey

monkey.patch_all()

from typing import cast

from gevent.lock import BoundedSemaphore

from peers.celery.tasks import REQUEST_QUEUE, app, echo
from peers.driver import run_client

PACKAGES = ["celery", "kombu", "amqp", "gevent"]
GUARANTEES = (
    "persistent; both ways confirmed, one message at a time per connection; request "
    "acknowledged after its result was confirmed; results are not acknowledged, and their queue "
    "goes with the client's connection"
)

_TIMEOUT = 60.0


class CeleryCaller:
    """Runs the task `echo`, with one reply queue for all greenlets."""

    def __init__(self, broker_url: str) -> None:
        app.conf.broker_url = broker_url
        self._reply_queue = app.backend.oid
        # Celery makes its one result consumer on the first call: many first calls at once make many of them,
        # and lose replies.
        self._first_call = BoundedSemaphore()
        self._called = False

    def call(self, payload: str) -> str:
        if not self._called:
            with self._first_call:
                reply = self._call(payload)
                self._called = True
                return reply
        return self._call(payload)

    def _call(self, payload: str) -> str:
        result = echo.apply_async((payload,), reply_to=self._reply_queue)
        return cast(str, result.get(timeout=_TIMEOUT))

    def send(self, payload: str) -> None:
        echo.apply_async((payload,), ignore_result=True)

    def close(self) -> None:
        app.close()


if __name__ == "__main__":
    run_client(CeleryCaller, packages=PACKAGES, guarantees=GUARANTEES, request_queue=REQUEST_QUEUE)
