"""Tab completes the command's words in real shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke, Shop
from tests.support.broker import Broker
from tests.support.hostile_server import HostileServer, healthy
from tests.support.terminal import Terminal

#: How each is started without anybody's settings, and what loads the completion in it.
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--interactive"],
}
LOAD = {
    "bash": 'eval "$(amphora completion bash)" && echo "is "loaded',
    "zsh": 'autoload -U compinit && compinit -u && eval "$(amphora completion zsh)" && echo "is "loaded',
    "fish": 'amphora completion fish | source && echo "is "loaded',
}

CTRL_U = "\x15"


def path_of(shell: str) -> str:
    found = shutil.which(shell)
    assert found, f"there is no {shell}: run `sh scripts/install-shells`, or `make test`, which does"
    return found


@pytest.fixture
def env(tmp_path: Path, broker: Broker) -> dict[str, str]:
    """An environment with the command in its path, whether it is installed or not."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    program = programs / "amphora"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m amphora "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "AMPHORA_BROKER_URL": broker.url,
    }


def wait_for_text(terminal: Terminal, pattern: str) -> None:
    terminal.wait_for_screen(rf"(?s).*{pattern}.*", 60)


@pytest.mark.parametrize("shell", START)
def test_tab_completes_commands_options_and_remote_functions(shell: str, env: dict[str, str], shop: Shop) -> None:
    path_of(shell)
    start = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    with Terminal("-c", start, *START[shell], columns=200, env=env) as terminal:
        terminal.type(f"{LOAD[shell]}\r")
        wait_for_text(terminal, r"\nis loaded\n")

        # Only the beginnings are typed: what follows, the shell has asked for.
        terminal.type("amphora purge-d\t")
        wait_for_text(terminal, "amphora purge-dead")
        terminal.type("x --serializ\t")
        wait_for_text(terminal, "amphora purge-dead x --serializer")
        terminal.type(f"{CTRL_U}amphora call {shop.server.service_name} stock.\t")
        wait_for_text(terminal, rf"amphora call {shop.server.service_name} stock\.ship")


def test_fish_shows_whole_descriptions(env: dict[str, str]) -> None:
    script = 'amphora completion fish | source; complete -C "amphora doc"'

    shown = subprocess.run(
        [path_of("fish"), "--no-config", "-c", script], env=env, capture_output=True, text=True, timeout=100
    )

    assert (shown.stdout, shown.stderr) == ("doctor\tLook for what is wrong, and say how to mend it.\n", "")


def completed(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """Return what the command answers a shell that asks for the last word."""
    monkeypatch.setenv("_AMPHORA_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "\n".join(("amphora", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    return invoke().output


@pytest.mark.parametrize(
    "words",
    [
        ("--broker", "http://no.broker", "orders", ""),
        ("--broker", "amqp://u:secret@127.0.0.1:1", "orders", ""),
        ("--signing-key-file", "nowhere", "orders", ""),
        ("there_is_no_such_service", ""),
        ("orders", "add", ""),
    ],
)
def test_where_nothing_can_be_asked_nothing_is_said(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    assert completed(invoke, monkeypatch, "call", *words).strip() == ""


def test_there_is_completion_for_the_user_s_shell(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert invoke("completion").output.startswith("#compdef amphora\n")

    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = invoke("completion")

    assert result.exit_code == 2
    assert "name the shell: bash, zsh, fish" in result.stderr


#: Names that a shell would run, expand or split; and a description that begins a line, which shells take for a value.
ENDS = (";touch owned", "$(touch owned)", "`touch owned`", "|touch owned", "\ntouch owned\n", "{a,b}", " x", "\x1b[2J")
NAMES = ["-add", *(f"add{each}" for each in (*ENDS, *"&>'\\*~!%:ü(#=\"\t"))]


@pytest.mark.parametrize("shell", START)
def test_what_a_hostile_server_calls_its_functions_is_not_run(
    shell: str, env: dict[str, str], broker: Broker, service: str
) -> None:
    described = {"signature": "(x)\nplain\n;touch owned\n", "doc": "Add.\rplain,;touch owned\x1b[2J", "module": "m"}
    functions = [{"name": each, **described} for each in [*NAMES, "add_two", "add.three"]]
    start = "import os, sys; os.chdir(os.environ['HOME']); os.execvp(sys.argv[1], sys.argv[1:])"
    with (
        HostileServer(broker, service, lambda _: [healthy(functions=functions)], calls=True),
        Terminal("-c", start, *START[shell], columns=200, env=env) as terminal,
    ):
        terminal.type(f"{LOAD[shell]}\r")
        wait_for_text(terminal, r"\nis loaded\n")
        # Both that are left begin so; which they are, a second Tab shows.
        terminal.type(f"amphora call {service} add\t\t")
        wait_for_text(terminal, r"add\.three")
        wait_for_text(terminal, r"add_two")
        terminal.type(f"{CTRL_U}amphora call {service} add_\t --timeout 1\r")
        wait_for_text(terminal, r"amphora call \S+ add_two +--timeout 1\n")
        terminal.type(f"{CTRL_U}echo is over\r")
        wait_for_text(terminal, r"\nis over")
        screen = "\n".join(terminal.screen)

    assert not (Path(env["HOME"]) / "owned").exists()
    assert "touch owned" not in screen.replace(r"\nplain\n;touch owned", "").replace(r"\rplain,;touch owned", "")
