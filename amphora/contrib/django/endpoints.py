"""``servers`` and ``clients``: the stand-ins of all aliases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from amphora.contrib.django.conf import DEFAULT_ALIAS, insist_on_alias, services
from amphora.contrib.django.lazy_client import LazyClient
from amphora.contrib.django.lazy_server import LazyServer

__all__ = ["LazyClient", "LazyServer", "client", "clients", "server", "servers"]

StandIn = TypeVar("StandIn", bound="LazyClient | LazyServer")


class Endpoints(Generic[StandIn]):
    """Stand-ins by alias, each made once; iterates over the aliases of the settings."""

    def __init__(self, kind: Callable[[str], StandIn]) -> None:
        self._kind = kind
        self._stand_ins: dict[str, StandIn] = {}

    def __getitem__(self, alias: str) -> StandIn:
        insist_on_alias(alias)
        return self._stand_in(alias)

    def __repr__(self) -> str:
        return f"<stand-ins {', '.join(map(repr, self._stand_ins.values()))}>"

    def __iter__(self) -> Iterator[str]:
        return iter(services())

    def __len__(self) -> int:
        return len(services())

    @property
    def default(self) -> StandIn:
        """The stand-in of the default alias, whether or not the settings have it (they may not be read yet)."""
        return self._stand_in(DEFAULT_ALIAS)

    def all(self) -> list[StandIn]:
        """Return the stand-ins of all aliases of the settings."""
        return [self[alias] for alias in self]

    def made(self) -> list[StandIn]:
        """Return the stand-ins that have an endpoint in this process."""
        return [stand_in for stand_in in self._stand_ins.values() if stand_in.made]

    def reset(self) -> None:
        """Stop all endpoints of this process; the next use makes others."""
        for stand_in in self.made():
            stand_in.reset()

    def _stand_in(self, alias: str) -> StandIn:
        if alias not in self._stand_ins:
            self._stand_ins.setdefault(alias, self._kind(alias))
        return self._stand_ins[alias]


servers: Endpoints[LazyServer] = Endpoints(LazyServer)
clients: Endpoints[LazyClient] = Endpoints(LazyClient)
server = servers.default
client = clients.default
