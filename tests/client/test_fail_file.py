"""The last package that could not be decoded can be looked at."""

import pytest

from tdbwatch.client import set_package_fail_file
from tdbwatch.wire import Kind, encode_frame


@pytest.fixture
def fail_file(tmp_path):
    path = tmp_path / "failed.mp"
    set_package_fail_file(str(path))
    yield path
    set_package_fail_file()


async def test_the_body_of_an_undecodable_package_is_kept(connect, cluster, fail_file, until):
    client = await connect(cluster)
    cluster.nodes[0].faults.send_raw(encode_frame(0xFFFF, Kind.ROOM_EMIT, b"\xc1first"))
    cluster.nodes[0].faults.send_raw(encode_frame(0xFFFF, Kind.ROOM_EMIT, b"\xc1last"))
    await client.query("echo;")
    assert fail_file.read_bytes() == b"\xc1last"


async def test_without_a_name_nothing_is_written(connect, cluster, fail_file):
    set_package_fail_file()
    client = await connect(cluster)
    cluster.nodes[0].faults.send_raw(encode_frame(0xFFFF, Kind.ROOM_EMIT, b"\xc1"))
    await client.query("echo;")
    assert not fail_file.exists()


async def test_a_file_that_cannot_be_written_is_only_logged(connect, cluster, tmp_path, caplog, fail_file):
    set_package_fail_file(str(tmp_path / "no" / "folder"))
    client = await connect(cluster)
    cluster.nodes[0].faults.send_raw(encode_frame(0xFFFF, Kind.ROOM_EMIT, b"\xc1"))
    await client.query("echo;")
    assert any("cannot write" in record.getMessage() for record in caplog.records)
