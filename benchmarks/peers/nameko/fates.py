"""nameko's part in `fates.py`: a proxy for each thread, and a new one after each failure."""

from __future__ import annotations

from collections.abc import Callable

from peers import fates

_SERVICE = "fates_nameko"


def serve(broker_url: str) -> None:
    import eventlet

    eventlet.monkey_patch()
    import signal
    import time

    from nameko.containers import ServiceContainer
    from nameko.rpc import rpc

    class Service:
        name = _SERVICE

        @rpc
        def work(self, number: str) -> str:
            fates.note_run(number)
            time.sleep(fates.WORK_SECONDS)
            return number

    config = {"AMQP_URI": broker_url, "max_workers": fates.CONCURRENCY, "prefetch_count": fates.CONCURRENCY}
    container = ServiceContainer(Service, config=config)
    container.start()
    # As `nameko run` does it.
    signal.signal(signal.SIGTERM, lambda *_: eventlet.spawn_n(container.stop))
    print("ready", flush=True)
    container.wait()


def call(broker_url: str, seconds: float) -> None:
    # Not in the threads: whichever imports eventlet first must be the main one.
    from nameko.standalone.rpc import ServiceRpcProxy

    def new_caller() -> Callable[[str], object]:
        proxy = ServiceRpcProxy(_SERVICE, {"AMQP_URI": broker_url}, timeout=fates.TIMEOUT).start()
        return lambda number: proxy.work(number)

    fates.call_in_threads(new_caller, seconds)


if __name__ == "__main__":
    role, url, seconds = fates.arguments()
    if role == "serve":
        serve(url)
    else:
        call(url, seconds)
