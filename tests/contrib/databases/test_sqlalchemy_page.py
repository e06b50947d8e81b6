"""docs/celery.md, "Databases": functions with sessions of SQLAlchemy."""

from pathlib import Path
from uuid import uuid4

import pytest

from amphora import AmqpRpcClient
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.pages import Reading
from tests.support.postgres import USER, Postgres
from tests.support.processes import ROOT

#: Seconds. A busy machine takes its time to start a process.
PATIENCE = 60.0

WORKER = ("-m", "celery", "-A", "library", "worker", "-P", "gevent", "--amphora", "--without-gossip", "-l", "INFO")


@pytest.mark.page("docs/celery.md", "Databases")
def test_sessions_of_sqlalchemy_share_a_pool_and_survive_a_restart_of_the_database(
    page: Reading, start_program: StartProgram, broker: Broker, postgres: Postgres, tmp_path: Path
) -> None:
    pytest.importorskip("sqlalchemy")
    database, vhost = (f"library_{uuid4().hex[:8]}" for _ in range(2))
    postgres.create_database(database)
    broker.add_vhost(vhost)
    url = broker.url_for(vhost=vhost)
    for name, source in page.take_files().items():
        (tmp_path / name).write_text(source)
    environment = {
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "CELERY_BROKER_URL": url,
        "DATABASE_URL": f"postgresql+psycopg://{USER}@/{database}?host={postgres.host}",
    }
    start_program(*WORKER, env=environment).wait_for_line("is served: ", PATIENCE)

    def backends() -> set[int]:
        return {result.get(timeout=PATIENCE) for result in [client.defer.backend() for _ in range(30)]}

    with AmqpRpcClient("library", broker_url=url, timeout=PATIENCE) as client:
        before = backends()
        postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", database)
        wait_until(lambda: postgres.connections(database) == 0, PATIENCE)
        after = backends()

        assert 1 <= postgres.connections(database) <= 5
    assert 1 <= len(before) <= 5
    assert before.isdisjoint(after)
