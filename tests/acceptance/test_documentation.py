"""The Python in README.md and docs/, run over RabbitMQ as it stands there."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import amphora
from amphora import (
    AmqpRpcClient,
    AmqpRpcServer,
    DeadLettered,
    IgnoreRequest,
    RemoteException,
    RpcJsonSerializer,
    WrongRequest,
)
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ENDPOINT = re.compile(r"\b(AmqpRpc(?:Fanout)?(?:Client|Server)\(\"\w+\")")
CODE_SPAN_OR_BLOCK = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text())


def programs(page: str) -> dict[str, str]:
    """Return the blocks that are whole programs, by the file names in their first lines."""
    found = (re.match(r"# (\w+\.py)\n", block) for block in blocks(page))
    return {match[1]: match.string for match in found if match}


def fragments(page: str) -> list[str]:
    """Return the blocks that are parts of a program."""
    return [block for block in blocks(page) if block not in programs(page).values()]


def at(broker_url: str, source: str) -> str:
    """Give each client and server in the source a broker: that of a reader is at the usual place, ours is not."""
    return ENDPOINT.sub(rf"\1, broker_url={broker_url!r}", source)


def run_fragment(source: str, names: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Run a part of a program.

    Returns:
        For each expression with a comment that is a value: what it gave, and what the comment says.
    """
    lines = source.splitlines()
    answers = []
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), "fragment", "exec"), names)
            continue
        value = eval(compile(ast.Expression(statement.value), "fragment", "eval"), names)
        comment = lines[statement.end_lineno - 1][statement.end_col_offset :].partition("# ")[2]
        with suppress(SyntaxError, ValueError):
            answers.append((value, ast.literal_eval(comment)))
    return answers


@pytest.fixture(scope="module")
def broker_url(broker: Broker) -> str:
    """The documentation's services have names that any test might use: they get a virtual host of their own."""
    broker.add_vhost("documentation")
    return broker.url_for(vhost="documentation")


@pytest.fixture
def names(broker_url: str, service: str) -> Iterator[dict[str, Any]]:
    """What the fragments take for granted: the public names, a client, a server and its functions."""
    server = AmqpRpcServer(service, broker_url=broker_url)
    server.add_function(lambda x, y: x + y, name="add")
    server.add_function(str.upper, name="text.upper")
    server.add_function(_show_message, name="show_message")
    names = {name: getattr(amphora, name) for name in amphora.__all__}
    with server, AmqpRpcClient(service, broker_url=broker_url, timeout=20) as client:
        names |= {"client": client, "server": server}
        yield names
        for value in names.values():
            if isinstance(value, (AmqpRpcClient, AmqpRpcServer)):
                value.stop()


def test_the_readme_s_client_calls_the_readme_s_server(start_program: StartProgram, broker_url: str) -> None:
    whole = programs("README.md")
    start_program("-c", at(broker_url, whole["math_server.py"]))

    client = start_program("-c", at(broker_url, whole["math_client.py"]))

    assert client.wait() == 0
    assert client.lines == ["5", "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]"]


def test_the_readme_s_programs_are_of_about_ten_lines() -> None:
    lengths = {name: len(source.rstrip().splitlines()) for name, source in programs("README.md").items()}

    assert lengths.keys() == {"math_server.py", "math_client.py"}
    assert max(lengths.values()) <= 12


def test_the_readme_s_fragments_give_what_their_comments_say(names: dict[str, Any], broker_url: str) -> None:
    answers = [answer for source in fragments("README.md") for answer in run_fragment(at(broker_url, source), names)]

    assert len(answers) == 10
    assert [given for given, _ in answers] == [said for _, said in answers]


def test_the_tutorial_s_fragments_give_what_their_comments_say(broker_url: str) -> None:
    names: dict[str, Any] = {}
    try:
        answers = [
            answer for source in fragments("docs/tutorial.md") for answer in run_fragment(at(broker_url, source), names)
        ]
    finally:
        for each in [*names.get("screens", []), *names.values()]:
            if isinstance(each, (AmqpRpcClient, AmqpRpcServer)):
                each.stop()

    assert len(answers) == 7
    assert [given for given, _ in answers] == [said for _, said in answers]


def test_the_fragment_about_testing_gives_what_its_comment_says() -> None:
    *_, source = fragments("docs/testing.md")

    assert run_fragment(source, {}) == [(42, 42)]


def test_the_fragments_about_deadlines_give_what_their_comments_say(names: dict[str, Any]) -> None:
    answers = [answer for source in fragments("docs/deadlines.md") for answer in run_fragment(source, names)]

    assert len(answers) == 3
    assert [given for given, _ in answers] == [said for _, said in answers]


def test_the_fragments_about_middleware_give_what_their_comments_say(names: dict[str, Any]) -> None:
    answers = [answer for source in fragments("docs/middleware.md") for answer in run_fragment(source, names)]

    assert len(answers) == 2
    assert [given for given, _ in answers] == [said for _, said in answers]


def test_the_fragments_about_introspection_give_what_their_comments_say(names: dict[str, Any]) -> None:
    wait_until(names["client"].inspect.ping, 60)

    answers = [answer for source in fragments("docs/introspection.md") for answer in run_fragment(source, names)]

    assert len(answers) == 4
    assert [given for given, _ in answers] == [said for _, said in answers]


def test_the_fragments_about_typed_calls_give_what_their_comments_say(names: dict[str, Any]) -> None:
    wait_until(names["client"].inspect.ping, 60)

    answers = [answer for source in fragments("docs/typing.md") for answer in run_fragment(source, names)]

    assert len(answers) == 3
    assert [given for given, _ in answers] == [said for _, said in answers]


def test_the_fragments_about_observability_give_what_their_comments_say(names: dict[str, Any]) -> None:
    assert names["client"].wait_connected(20)
    wait_until(lambda: names["server"].health().ready, 20)

    answers = [answer for source in fragments("docs/observability.md") for answer in run_fragment(source, names)]

    assert len(answers) == 5
    assert [given for given, _ in answers] == [said for _, said in answers]


def test_the_program_about_threads_prints_what_its_calls_give(start_program: StartProgram, broker_url: str) -> None:
    with AmqpRpcServer("math", broker_url=broker_url) as server:
        server.add_function(lambda x, y: x + y, name="add")

        program = start_program(
            "-c",
            programs("docs/threads.md")["threaded_caller.py"].replace(
                'ThreadedClient("math")', f'ThreadedClient("math", broker_url={broker_url!r})'
            ),
        )

        assert program.wait(60) == 0, program.output
    assert program.lines == ["3", "7", "TypeError", "11", "11"]


def test_the_program_about_dead_letters_shows_them_and_gives_back_the_wanted_ones(
    start_program: StartProgram, broker_url: str, service: str
) -> None:
    source = programs("docs/dead-letters.md")["dead_letters.py"]
    runs: list[int] = []

    def ship(number: int) -> None:
        runs.append(number)
        raise IgnoreRequest

    server = AmqpRpcServer(service, broker_url=broker_url, delivery_limit=2, ignore_delay=0)
    server.add_function(ship)
    with server, AmqpRpcClient(service, broker_url=broker_url, timeout=20) as client:
        for number in (17, 18):
            with pytest.raises(DeadLettered):
                client.call.ship(number)
        assert server.prepare_stop(20)

        looking = start_program("-c", source, broker_url, service)
        assert looking.wait() == 0
        ids = [line.partition(" ")[0] for line in looking.lines]
        giving_back = start_program("-c", source, broker_url, service, ids[1])
        assert giving_back.wait() == 0
        server.serve()
        wait_until(lambda: server.stats()["dead_lettered"] == 3)
        assert server.prepare_stop(20)
        looking_again = start_program("-c", source, broker_url, service)
        assert looking_again.wait() == 0

    origin = f"rpc_{service}_request delivery_limit"
    assert looking.lines == [
        f"{ids[0]} {origin} {_request_of('ship', 17)!r}",
        f"{ids[1]} {origin} {_request_of('ship', 18)!r}",
    ]
    assert runs == [17, 17, 18, 18, 18, 18]
    assert [line.partition(" ")[0] for line in looking_again.lines] == ids


def test_the_program_about_dead_letters_signs_what_it_gives_back(
    start_program: StartProgram, broker_url: str, service: str
) -> None:
    source = programs("docs/dead-letters.md")["dead_letters.py"]
    key = "the key that they share"
    runs: list[int] = []

    def ship(number: int) -> None:
        runs.append(number)
        if len(runs) < 3:
            raise IgnoreRequest

    options: dict[str, Any] = {"broker_url": broker_url, "signing_keys": [key]}
    server = AmqpRpcServer(service, delivery_limit=2, ignore_delay=0, **options)
    server.add_function(ship)
    with server, AmqpRpcClient(service, timeout=20, **options) as client:
        result = client.defer(expires=20).ship(17)
        with pytest.raises(DeadLettered):
            result.get()
        looking = start_program("-c", source, broker_url, service)
        assert looking.wait() == 0
        wanted = looking.lines[0].partition(" ")[0]

        giving_back = start_program("-c", source, broker_url, service, wanted, env={"SIGNING_KEY": key})

        assert giving_back.wait() == 0
        wait_until(lambda: runs == [17, 17, 17])
        assert server.stats()["untrusted"] == 0


def test_the_readme_s_tuning_function_chooses_the_queue_of_the_user(names: dict[str, Any], broker_url: str) -> None:
    client, server = names["client"], names["server"]
    (tuning,) = [source for source in fragments("README.md") if "tune_function" in source]
    run_fragment(tuning, names)
    for user in ("Dora", "Emil"):
        client.create_new_request_queue(user)

    results = [client.defer.show_message("Dora", "Hi!"), client.defer.show_message(username="Emil", message="Hi!")]

    assert [server.receive_from_queue(user, max_calls=1, timeout=20) for user in ("Dora", "Emil")] == [1, 1]
    assert [result.get() for result in results] == ["shown", "shown"]


class TestSerializerOfOnesOwn:
    """docs/serializers.md."""

    @pytest.fixture
    def documented(self, names: dict[str, Any], broker_url: str) -> dict[str, Any]:
        """Run the whole page and give its names, with functions added to the last server, which serves."""
        for source in fragments("docs/serializers.md"):
            run_fragment(at(broker_url, source), names)
        server = names["server"]
        server.add_function(lambda price, count: price * count, name="total")
        server.add_function(lambda day: day.isoformat(), name="text_of")
        server.add_function(lambda: object(), name="unencodable")
        server.serve()
        return names

    def test_it_carries_values_that_json_alone_does_not(self, documented: dict[str, Any]) -> None:
        client = documented["new_client"]

        total = client.call.total(Decimal("1.10"), 3)
        text = client.call.text_of(date(2026, 11, 23))

        assert total == Decimal("3.30")
        assert isinstance(total, Decimal)
        assert text == "2026-11-23"

    def test_a_client_of_the_old_serializer_is_answered_in_kind(self, documented: dict[str, Any]) -> None:
        total = documented["old_client"].call.total(2, 3)

        assert total == 6

    def test_an_argument_that_it_cannot_encode_is_a_type_error_before_anything_is_sent(
        self, documented: dict[str, Any]
    ) -> None:
        with pytest.raises(TypeError, match="'total' cannot be encoded as application/x-typed-json"):
            documented["new_client"].call.total(object(), 3)

    def test_a_result_that_it_cannot_encode_is_a_remote_exception(self, documented: dict[str, Any]) -> None:
        with pytest.raises(RemoteException, match="cannot encode object"):
            documented["new_client"].call.unencodable()

    def test_what_it_cannot_read_is_a_wrong_request(self, documented: dict[str, Any]) -> None:
        with pytest.raises(WrongRequest, match="Unreadable request"):
            documented["new_client"].call.total({"$decimal": "no number"}, 1)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_s_links_lead_somewhere(page: Path) -> None:
    prose = CODE_SPAN_OR_BLOCK.sub("", page.read_text())

    links = [link for link in LINK.findall(prose) if "://" not in link]

    missing = [link for link in links if not _leads_somewhere(page, link)]
    assert missing == []


def _request_of(function: str, *args: Any) -> bytes:
    return RpcJsonSerializer().dumps({"func": function, "args": args, "kwargs": {}})


def _show_message(username: str, message: str) -> str:
    return "shown"


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
