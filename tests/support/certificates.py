"""Certificates for tests: an authority of the test's own, what it signs, and files of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme


class Authority:
    """A certificate authority that keeps its certificate, and those it signs, as PEM files in a directory.

    Args:
        directory: where; made if it does not exist.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.certificate = str(directory / "ca.pem")
        """Path of the authority's own certificate."""
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.certificate)

    def issue(self, name: str, *identities: str, expired: bool = False, user: str | None = None) -> dict[str, str]:
        """Sign a certificate for host names; a second one of the same name takes the place of the first.

        Args:
            name: of the files.
            identities: what it is for, such as "localhost".
            expired: whether it is one of yesterday's.
            user: its common name.

        Returns:
            The paths of the certificate and its key as the option `ssl` of clients and servers takes them, with
            the authority's as `ca_certs`.
        """
        dates: dict[str, Any] = {}
        if expired:
            now = datetime.now(UTC)
            dates = {"not_before": now - timedelta(days=2), "not_after": now - timedelta(days=1)}
        issued = self._authority.issue_cert(*identities, common_name=user, **dates)
        certfile, keyfile = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certfile.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        keyfile.write_bytes(issued.private_key_pem.bytes())
        return {"certfile": str(certfile), "keyfile": str(keyfile), "ca_certs": self.certificate}

    def listener(self, port: int, server: dict[str, str], *, mutual: bool = False) -> dict[str, str | int]:
        """Return the lines of rabbitmq.conf for a TLS port.

        Args:
            port: the TCP port.
            server: what `issue` returned for the broker.
            mutual: whether clients need a certificate of this authority.
        """
        return {
            "listeners.ssl.1": f"127.0.0.1:{port}",
            "ssl_options.cacertfile": self.certificate,
            "ssl_options.certfile": server["certfile"],
            "ssl_options.keyfile": server["keyfile"],
            "ssl_options.verify": "verify_peer" if mutual else "verify_none",
            "ssl_options.fail_if_no_peer_cert": "true" if mutual else "false",
        }
