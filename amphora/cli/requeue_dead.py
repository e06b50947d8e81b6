"""``amphora requeue-dead``: give dead letters back to the queues that they come from."""

from __future__ import annotations

from typing import Any

from amphora import DeadLetter, DeadLetters, PublishNacked, Unroutable
from amphora.cli.dead_letter_options import Choice, as_record, described
from amphora.cli.exit_codes import Failed
from amphora.cli.output import print_json, print_line
from amphora.cli.services import TargetService

__all__ = ["run"]


def run(service: TargetService, choice: Choice, dry_run: bool, unverified: bool, as_json: bool) -> None:
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
