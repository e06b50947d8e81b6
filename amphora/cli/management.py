"""RabbitMQ's management API, asked over HTTP with the standard library."""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from amphora.cli.exit_codes import BadArguments, NotSent
from amphora.options.brokers import BrokerAddress, given_in_url
from amphora.options.urls import UrlError, split_url

__all__ = ["ManagedQueue", "Management"]

#: Seconds for an answer.
_TIMEOUT = 10.0


@dataclass(frozen=True)
class ManagedQueue:
    """A queue as the management API has it.

    Args:
        name: Its name.
        ready: Messages that wait.
        unacknowledged: Messages that consumers have in hand.
        consumers: How many consumers.
        type: ``classic`` or ``quorum``.
        state: ``running``, or what is wrong.
        incoming: Messages published per second, lately.
        outgoing: Messages delivered per second, lately.
        memory: Bytes.
    """

    name: str
    ready: int
    unacknowledged: int
    consumers: int
    type: str
    state: str
    incoming: float
    outgoing: float
    memory: int


#: What `amphora queues` cannot do without.
_FIGURES = {"messages_ready", "consumers"}


class Management:
    """Asks the management API of a broker.

    Args:
        url: ``http://host:15672``; with ``user:password@`` where they are not those of the broker.
        broker_url: The broker's URL, for the user, the password and the virtual host.
        authorities: Of ``https://``: file of the authorities to trust; None for the system's.

    Raises:
        BadArguments: The URL is none.
    """

    def __init__(self, url: str, broker_url: str | None, *, authorities: str | None = None) -> None:
        try:
            parts = split_url(url, schemes="http:// or https://")
        except UrlError as error:
            # Neither its text nor its causes show a part of the URL, which may hold a password.
            raise BadArguments(f"--management {error}") from None
        if parts.scheme not in ("http", "https") or not parts.host:
            raise BadArguments("--management is a URL such as http://127.0.0.1:15672")
        broker = broker_at(broker_url)
        host = f"[{parts.host}]" if ":" in parts.host else parts.host
        self.address = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"
        if parts.path.rstrip("/"):
            self.address += f"/{quote(parts.path.rstrip('/'))}"
        self.vhost = broker.vhost
        self._user = parts.user or broker.user
        credentials = f"{self._user}:{parts.password or broker.password}".encode()
        self._authorization = f"Basic {base64.b64encode(credentials).decode()}"
        self._authorities = authorities
        self.clock_ahead: float | None = None

    def queues(self) -> list[ManagedQueue]:
        """Return the queues of the virtual host.

        Raises:
            NotSent: It does not answer, or refuses, or has no figures.
        """
        found = self._get(f"/api/queues/{quote(self.vhost, safe='')}")
        # (A queue has none in its first seconds either.)
        if not all(each.keys() >= _FIGURES for each in found) and self.overview().get("disable_stats"):
            raise NotSent(
                f"the management API at {self.address} does not tell how many messages and consumers queues have: its "
                "collection of metrics is disabled (management_agent.disable_metrics_collector, or the deprecated "
                "feature management_metrics_collection). Enable it, or leave out --management"
            )
        return [_queue(each) for each in found]

    def bound_to(self, exchange: str) -> list[str]:
        """Return the names of the queues that are bound to an exchange; none where there is no such exchange.

        Raises:
            NotSent: It does not answer, or refuses.
        """
        vhost, name = quote(self.vhost, safe=""), quote(exchange, safe="")
        found = self._get(f"/api/exchanges/{vhost}/{name}/bindings/source", or_else=[])
        return sorted({str(each["destination"]) for each in found if each.get("destination_type") == "queue"})

    def overview(self) -> dict[str, Any]:
        """Return what it says of itself and of the broker; sets ``clock_ahead``.

        Raises:
            NotSent: It does not answer, or refuses.
        """
        found: dict[str, Any] = self._get("/api/overview")
        return found

    def _get(self, path: str, *, or_else: Any = None) -> Any:
        request = Request(f"{self.address}{path}", headers={"Authorization": self._authorization})  # noqa: S310
        try:
            # Made each time: it reads the file.
            context = ssl.create_default_context(cafile=self._authorities)
            with urlopen(request, timeout=_TIMEOUT, context=context) as answer:  # noqa: S310  (the scheme was looked at)
                self._compare_clocks(answer.headers.get("Date"))
                return json.load(answer)
        except HTTPError as error:
            if error.code == 404 and or_else is not None:
                return or_else
            why = {401: f"wrong user or password for {self._user!r}, or no tag `management`"}
            raise NotSent(
                f"the management API at {self.address} refuses: {error.code} {why.get(error.code, error.reason)}"
            ) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            text = getattr(reason, "strerror", None) or reason
            raise NotSent(f"no management API at {self.address}: {text}") from error
        except ValueError as error:
            raise NotSent(f"what answers at {self.address} is no management API") from error

    def _compare_clocks(self, date: str | None) -> None:
        if date:
            self.clock_ahead = parsedate_to_datetime(date).timestamp() - time()


def broker_at(broker_url: str | None) -> BrokerAddress:
    """Return the first broker of ``--broker``.

    Raises:
        BadArguments: It cannot be read.
    """
    try:
        return given_in_url(broker_url)[0]
    except ValueError as error:
        raise BadArguments(str(error)) from None


def _queue(found: dict[str, Any]) -> ManagedQueue:
    rates = found.get("message_stats") or {}
    return ManagedQueue(
        name=str(found["name"]),
        ready=int(found.get("messages_ready", 0)),
        unacknowledged=int(found.get("messages_unacknowledged", 0)),
        consumers=int(found.get("consumers", 0)),
        type=str(found.get("type", "classic")),
        state=str(found.get("state", "running")),
        incoming=_rate(rates, "publish_details"),
        outgoing=_rate(rates, "deliver_get_details"),
        memory=int(found.get("memory", 0)),
    )


def _rate(rates: dict[str, Any], name: str) -> float:
    return float((rates.get(name) or {}).get("rate", 0.0))
