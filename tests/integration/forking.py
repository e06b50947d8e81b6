"""A program that forks while its client and its server are connected; the children make clients of their own.

Arguments: broker URL, service name, ``gevent`` or ``raw`` (how to fork: as gevent's os.fork does, or as a program
written in C would, which calls `gevent.reinit` itself).
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402

import gevent  # noqa: E402
import pytest  # noqa: E402

from amphora import AmqpRpcClient, AmqpRpcServer  # noqa: E402

url, service, way = sys.argv[1:4]
CHILDREN = 3

server = AmqpRpcServer(service, broker_url=url)
runs: dict[object, int] = {}


@server.add_function
def note(what: object) -> object:
    """Count the runs, and return the argument."""
    runs[what] = runs.get(what, 0) + 1
    return what


def fork() -> int:
    """Fork in the way that was asked for."""
    if way == "gevent":
        return os.fork()
    pid = monkey.get_original("os", "fork")()
    if pid == 0:
        gevent.reinit()
    return int(pid)


def wait(pid: int) -> int:
    """Wait for the end of a child while the server goes on; return its status."""
    if way == "gevent":
        return os.waitpid(pid, 0)[1]
    # gevent's own knows only the children of its own fork.
    status: int = gevent.get_hub().threadpool.apply(monkey.get_original("os", "waitpid"), (pid, 0))[1]
    return status


def child(number: int) -> None:
    """Try what was inherited, then call with a client of its own."""
    for use in (client.call.note, client.serve, client.wait_connected, server.serve):
        with pytest.raises(RuntimeError, match="before this process was forked"):
            use()
    client.stop()
    server.stop()
    with AmqpRpcClient(service, broker_url=url) as own:
        assert own.call.note(f"child {number}") == f"child {number}"
    # The parent's frames, and its greenlets, are the parent's affair: nothing of them may happen here.
    gevent.sleep(0.2)


server.serve()
client = AmqpRpcClient(service, broker_url=url)
client.call.note("before")
children, results = [], []
for number in range(CHILDREN):
    # Not written yet when the fork comes.
    results += [client.defer(wait_publish=False).note(f"early {number}.{each}") for each in range(20)]
    pid = fork()
    if pid == 0:
        try:
            child(number)
        except BaseException:  # noqa: BLE001  (a child must not go on as its parent)
            traceback.print_exc()
            os._exit(1)
        print(f"child {number} is done", flush=True)
        os._exit(0)
    children.append(pid)
    results += [client.defer(wait_publish=False).note(f"late {number}.{each}") for each in range(20)]
for result in results:
    result.get()
codes = [os.waitstatus_to_exitcode(wait(pid)) for pid in children]
client.call.note("after")
print(f"children {codes}")
print(f"reconnects {client.stats()['reconnects'] + server.stats()['reconnects']}")
print(f"runs {len(runs)}, twice {[what for what, count in runs.items() if count != 1]}")
client.stop()
server.stop()
