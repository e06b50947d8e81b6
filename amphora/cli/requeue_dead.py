"""``amphora requeue-dead``: give dead letters back to the queues that they come from."""

from __future__ import annotations

from typing import Any

import click

from amphora import DeadLetter, DeadLetters, PublishNacked, Unroutable
from amphora.cli.dead_letter_options import Choice, as_record, choice_options, described
from amphora.cli.exit_codes import Failed
from amphora.cli.output import print_json, print_line
from amphora.cli.services import ServiceCommand, TargetService, service_options

__all__ = ["command"]

_EPILOG = """\
A request leaves the dead letters only when the broker has confirmed that it has it in its old queue: stop this command
at any time, none is lost (in the worst moment one is in both). It has all its tries again. Its caller does not wait for
it any more.

While it looks, it has all dead letters of the service in its memory, and no other program gets them; those that it does
not give back are in their old order again afterwards.

Where servers have signing_keys, name the key with --signing-key-file. Then only letters with the mark of a server are
given back, and the others are shown with the reason. With --unverified they are given back and signed too: anybody who
may publish a request can have written them.

\b
Exit statuses:
  0    done; there may have been none to give back
  1    some could not be given back, and stay where they are
  4    the broker cannot be reached, or refuses
"""


@click.command("requeue-dead", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@choice_options
@click.option("--dry-run", is_flag=True, help="Only show which.")
@click.option(
    "--unverified",
    is_flag=True,
    help="Give back, and sign, also those that no server is known to have given up: look at them before.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: those given back, those that failed.")
def command(service: TargetService, choice: Choice, dry_run: bool, unverified: bool, as_json: bool) -> None:
    """Give dead letters of the service NS back to the queues that they come from."""
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    left = 0
    with service.open_dead_letters() as dead:
        for letter in dead.letters():
            if not choice.takes(letter) or len(done) + len(failed) == choice.limit:
                left += 1
                continue
            problem = _refusal(letter, unverified) if dry_run else _requeue(dead, letter, unverified)
            (done if problem is None else failed).append(as_record(letter) | ({"problem": problem} if problem else {}))
            if not as_json:
                mark = f"  stays: {problem}" if problem else f"  -> {letter.queue}"
                print_line(f"{described(letter)}{mark}", err=problem is not None)
    if as_json:
        print_json({"given_back" if not dry_run else "would_give_back": done, "failed": failed, "left": left})
    else:
        verb = "would be given back" if dry_run else "given back"
        print_line(f"{len(done)} {verb}, {left + len(failed)} left")
    if failed:
        raise Failed(f"{len(failed)} could not be given back")


def _refusal(letter: DeadLetter, unverified: bool) -> str | None:
    return None if letter.doubt is None or unverified else f"{letter.doubt} (--unverified gives it back)"


def _requeue(dead: DeadLetters, letter: DeadLetter, unverified: bool) -> str | None:
    """Give one back; return what is wrong where that is not possible for this one."""
    try:
        dead.requeue(letter, unverified=unverified)
    except (PublishNacked, Unroutable) as error:
        return str(error)
    except ValueError as error:
        return f"{error} (--unverified gives it back)"
    return None
