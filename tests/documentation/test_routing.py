"""docs/routing.md: its tuning function. Its blocks are executed with those of the guides."""

from typing import Any

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.support.fragments import run_fragment
from tests.support.pages import blocks_of


def test_its_tuning_function_chooses_the_queue_of_the_user(names: dict[str, Any], broker_url: str) -> None:
    client: AmqpRpcClient = names["client"]
    server: AmqpRpcServer = names["server"]
    (tuning,) = [block.text for block in blocks_of("docs/routing.md") if "tune_function" in block.text]
    run_fragment(tuning, names)
    for user in ("Dora", "Emil"):
        client.create_new_request_queue(user)

    results = [client.defer.show_message("Dora", "Hi!"), client.defer.show_message(username="Emil", message="Hi!")]

    assert [server.receive_from_queue(user, max_calls=1, timeout=20) for user in ("Dora", "Emil")] == [1, 1]
    assert [result.get() for result in results] == ["shown", "shown"]
