"""A real server. It refuses to run as root, so that root's tests run it as somebody else."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tdbwatch.testing import Program, free_port, program_path

Sql = Callable[..., list[Any]]


def somebody() -> str | None:
    """Whoever may run the server; None: we may."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def server() -> Iterator[Program]:
    places = sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)
    initdb, postgres = program_path("initdb", *places), program_path("postgres", *places)
    openssl, user, port = program_path("openssl"), somebody(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="tdbwatch-postgres-"))
    data, cert, key = folder / "data", folder / "cert.pem", folder / "key.pem"
    make = [initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    sign = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    about = [
        "-subj",
        "/CN=db",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    try:
        if user is not None:
            shutil.chown(folder, user)
        for command in (make, [*sign, *about]):
            _run(command, user, folder)
        rules = data / "pg_hba.conf"
        rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        settings = {
            "listen_addresses": "127.0.0.1",
            "fsync": "off",
            "unix_socket_directories": str(folder),
            "ssl": "on",
            "ssl_cert_file": str(cert),
            "ssl_key_file": str(key),
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        ask = [program_path("pg_isready", *places), "-h", "127.0.0.1", "-p", str(port), "-q"]
        command = [postgres, "-D", str(data), "-p", str(port), *given]
        with Program(
            command, port, folder, user=user, ready=lambda: subprocess.run(ask, check=False).returncode == 0
        ) as server:
            server.cert = cert  # type: ignore[attr-defined]
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], user: str | None, folder: Path) -> None:
    group = None if user is None else pwd.getpwnam(user).pw_gid
    subprocess.run(command, user=user, group=group, cwd=folder, check=True, capture_output=True)


def url_of(port: int) -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


@pytest.fixture
def sql(server: Program) -> Iterator[Sql]:
    """Runs a query in a database without the sink's table."""

    def sql(query: str, *args: Any) -> list[Any]:
        async def run() -> list[Any]:
            settings = {"default_transaction_read_only": "off"}  # whatever the database says
            connection = await asyncpg.connect(url_of(server.port), server_settings=settings)
            try:
                return list(await connection.fetch(query, *args))
            finally:
                await connection.close()

        return asyncio.run(run())

    sql("DROP TABLE IF EXISTS tdbwatch_events")
    yield sql
