"""The HTTP client: a urllib3 pool, used by many greenlets."""

from gevent import monkey

monkey.patch_all()

from typing import cast

import urllib3

from peers.driver import run_client
from peers.http.address import HOST, port_beside

_TIMEOUT = 60.0
_CONNECTIONS = 1000  # as many as calls are in flight at the most: more would be closed after one call


class HttpCaller:
    """Posts to `/echo`."""

    def __init__(self, broker_url: str) -> None:
        self._pool = urllib3.HTTPConnectionPool(
            HOST, port_beside(broker_url), maxsize=_CONNECTIONS, timeout=_TIMEOUT, retries=False
        )

    def call(self, payload: str) -> str:
        response = self._pool.request("POST", "/echo", json={"value": payload})
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")
        return cast(str, response.json()["result"])

    def send(self, payload: str) -> None:
        raise NotImplementedError("without a broker, nobody keeps a request that no server takes")

    def close(self) -> None:
        self._pool.close()


if __name__ == "__main__":
    run_client(
        HttpCaller,
        packages=["gunicorn", "urllib3", "gevent"],
        guarantees="none: nothing is stored, and a call that breaks is not made again; no broker, so that client and "
        "server have its share of the processor",
        request_queue="",
    )
