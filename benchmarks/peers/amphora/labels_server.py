"""Takes requests from as many label queues as the client says."""

from gevent import monkey

monkey.patch_all()

import sys

from gevent.pool import Pool

from amphora import AmqpRpcServer
from peers.amphora.serving import serve

SERVICE = "bench_amphora_labels"


def main(broker_url: str) -> None:
    server = AmqpRpcServer(SERVICE, broker_url=broker_url)

    @server.add_function
    def echo(value: str) -> str:
        return value

    @server.add_function
    def subscribe(labels: int) -> None:
        def receive(label: int) -> None:
            # Returns when it is known that the queue exists.
            server.receive_from_queue(str(label), block=False, wait_for_queue=False)

        pool = Pool(100)
        for _ in pool.imap_unordered(receive, range(labels)):
            pass

    @server.add_function
    def unsubscribe(labels: int) -> None:
        for label in range(labels):
            server.stop_receiving(str(label))

    serve(server)


if __name__ == "__main__":
    main(sys.argv[1])
