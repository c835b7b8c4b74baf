"""Servers that are none: what answers is no ThingsDB node."""

import pytest

from tdbwatch.exceptions import AuthError
from tdbwatch.wire import encode_frame

from .keeper_kit import Diary, refuse_login


async def test_bytes_that_come_before_the_first_request_do_no_harm(new_client, talker, until, clock):
    ready = new_client().connect_pool([await talker(encode_frame(5, 16), refuse_login)], "t")
    await until(ready.done, clock)
    with pytest.raises(AuthError):
        await ready


async def test_what_greets_with_garbage_is_given_up_and_tried_again(
    new_client, talker, clock, pass_time, until
):
    diary = Diary()
    client = new_client(observer=diary)
    ready = client.connect_pool([await talker(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)], "t")
    await until(lambda: len(diary.entries) >= 3, clock)
    assert not ready.done()
    assert all("check byte" in reason for _, reason in diary.entries)


async def test_garbage_right_behind_the_answer_to_the_login_is_survived(
    new_client, talker, cluster, clock, until, pass_time
):
    def login_then_garbage(data):
        return encode_frame(data[4] | data[5] << 8, 17) + b"\xff" * 64

    diary = Diary()
    client = new_client(observer=diary)
    bad = await talker(b"", login_then_garbage)
    ready = client.connect_pool([bad], "admin", "pass")
    await pass_time(clock, 20)
    assert not ready.done()
    assert len(diary.entries) >= 3
    assert all("check byte" in reason for _, reason in diary.entries)
