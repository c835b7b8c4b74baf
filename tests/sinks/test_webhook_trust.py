"""The webhook sink: credentials, proxies, certificates, and secrets that are never shown."""

import asyncio
import json
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from structlog.testing import capture_logs

from tdbwatch.daemon.config.secrets.rotating import RotatingSecret
from tdbwatch.plugin import DELIVERED, Rejected, Retry, SinkContext
from tdbwatch.sinks.webhook import WebhookOptions, WebhookSink

from .test_webhook_messages import WHSEC
from .webhook_bench import Opened, events, reason


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"auth": {"basic": {"username": "ü", "password": "pä:ss"}}}, "Basic w7w6cMOkOnNz"),
        ({"auth": {"bearer": "tok"}}, "Bearer tok"),
        ({"headers": {"Authorization": "Custom x"}}, "Custom x"),
    ],
)
async def test_it_proves_itself(
    endpoint: Any, opened: Opened, options: dict[str, Any], expected: str
) -> None:
    async with opened(**options) as sink:
        await sink.deliver(events(1))
    assert endpoint.received[0].headers["authorization"] == expected


async def test_user_and_password_of_the_url_are_sent_as_a_header(endpoint: Any, opened: Opened) -> None:
    async with opened(url=endpoint.url.replace("http://", "http://us%40er:pw@") + "?k=v%20w") as sink:
        await sink.deliver(events(1))
    assert endpoint.received[0].headers["authorization"] == "Basic dXNAZXI6cHc="
    assert endpoint.received[0].path == "/hook?k=v%20w"


async def test_a_proxy_gets_the_request_and_its_own_credentials(endpoint: Any, opened: Opened) -> None:
    proxy = endpoint.url.replace("http://", "http://proxy-user:proxy-pass@").removesuffix("/hook")
    async with opened(url="http://hooks.example.org/hook", proxy=proxy) as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    (request,) = endpoint.received
    assert request.headers["host"] == "hooks.example.org"
    assert request.headers["proxy-authorization"] == "Basic cHJveHktdXNlcjpwcm94eS1wYXNz"


async def test_a_proxy_that_fails_is_tried_again(endpoint: Any, opened: Opened) -> None:
    endpoint.answers(407)
    async with opened(url="https://hooks.example.org/hook", proxy=endpoint.url.removesuffix("/hook")) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert isinstance(outcome, Retry)


async def test_an_error_shows_no_path_however_short(opened: Opened) -> None:
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 nonsense\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for user in ("", "us:pass@"):
            async with opened(url=f"http://{user}127.0.0.1:{port}/T01/ABC#x") as sink:
                (outcome,) = await sink.deliver(events(1))
            assert reason(outcome).endswith("/...: what came back is not HTTP: Bad status line")


async def test_as_many_requests_are_under_way_as_batches_are_in_flight(endpoint: Any, opened: Opened) -> None:
    together = asyncio.Barrier(40)

    async def wait_for_all(_: web.Request) -> web.StreamResponse:
        await together.wait()
        return web.Response()

    endpoint.answer = wait_for_all
    async with opened() as sink:
        outcomes = await asyncio.gather(*(sink.deliver([event]) for event in events(40)))
    assert outcomes == [[DELIVERED]] * 40


SECRETS = [
    "sesame-user",
    "sesame-pass",
    "sesame-query",
    "sesame-header",
    "sesame-bearer",
    "sesame-in-the-path",
]


async def test_no_secret_is_in_a_reason_a_repr_or_an_error(endpoint: Any, opened: Opened) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        said = f"{request.raw_path} {dict(request.headers)} whsec_c2VzYW1lLXNpZ25pbmcta2V5LWtleQ=="
        return web.Response(status=400, text=said)

    endpoint.answer = echo
    url = endpoint.url.replace("http://", "http://sesame-user:sesame-pass@")
    async with opened(
        url=f"{url}/sesame-in-the-path?key=sesame-query",
        headers={"X-Key": "sesame-header"},
        secret="whsec_c2VzYW1lLXNpZ25pbmcta2V5LWtleQ==",
        proxy=None,
    ) as sink:
        (outcome,) = await sink.deliver(events(1))
        shown = reason(outcome) + repr(sink.options) + str(sink.options) + repr(sink.__dict__)
    assert "***" in reason(outcome)
    for secret in [*SECRETS, "c2VzYW1l", "c2VzYW1lLXVzZXI6c2VzYW1lLXBhc3M"]:
        assert secret not in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auth": {"basic": {"username": "u", "password": "sesame"}}}, "sesame"),
        ({"auth": {"basic": {"username": "u", "password": "sesame"}}}, "dTpzZXNhbWU="),
        ({"auth": {"bearer": "sesame"}}, "Bearer sesame"),
        ({"headers": {"X-Key": "Token sesame"}}, "sesame"),
        ({"headers": {"X-Key": "sesame", "X-More": "sesame-open"}}, "sesame-open"),
        ({"url": "{url}?k=se%73ame"}, "sesame"),
        ({"url": "{url}?k=se%73ame"}, "se%73ame"),
        ({"url": "{url}/sesame%2Dtoken"}, "sesame-token"),
        ({"url": "{url}/sesame%2Dtoken"}, "sesame%2Dtoken"),
        ({"url": "{url}/hooks/s3same"}, "s3same"),
        ({"url": "{url}/hooks/seSAME"}, "seSAME"),
        ({"proxy": "http://user:sesame@127.0.0.1:{port}"}, "sesame"),
        ({"proxy": "http://user:sesame@127.0.0.1:{port}"}, "dXNlcjpzZXNhbWU="),
        ({"secret": "sesame-open-sesame"}, "sesame-open-sesame"),
    ],
)
async def test_each_kind_of_secret_is_taken_out_of_an_answer(
    endpoint: Any, opened: Opened, options: dict[str, Any], said: str
) -> None:
    endpoint.answers(400, text=f"<{said}>")
    for key in ("url", "proxy"):
        if key in options:
            options = {**options, key: options[key].format(url=endpoint.url, port=endpoint.port)}
    async with opened(**options) as sink:
        (outcome,) = await sink.deliver(events(1))
    assert re.fullmatch(r"HTTP 400: <[\w ]*\*\*\*>", reason(outcome))
    assert said not in reason(outcome)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "ftp://sesame"}, "not an HTTP URL"),
        ({"url": "sesame"}, "not an HTTP URL"),
        ({"url": "http://[sesame"}, "not a URL"),
        ({"proxy": "socks5://sesame"}, "not an HTTP URL"),
        ({"secret": "whsec_se!same"}, "not base64"),
        ({"secret": ""}, "empty"),
        ({"secret": []}, "empty"),
        ({"secret": "whsk_c2VzYW1l"}, "an ed25519 key has 32 bytes"),
        ({"headers": {"a b": "sesame"}}, "cannot be the name of a header"),
        ({"headers": {"X": "sesame\r\nY: z"}}, "control character"),
        ({"headers": {"Webhook-Id": "sesame"}}, "set by tdbwatch"),
        ({"headers": {"ce-type": "sesame"}}, "set by tdbwatch"),
        ({"auth": {"bearer": "sesame\nopen"}}, "control character"),
        ({"auth": {}}, "either basic or bearer"),
        (
            {"auth": {"bearer": "sesame", "basic": {"username": "a", "password": "b"}}},
            "either basic or bearer",
        ),
        ({"auth": {"bearer": "sesame"}, "url": "http://user:sesame@host/"}, "one of them"),
        ({"auth": {"bearer": "sesame"}, "headers": {"authorization": "sesame"}}, "one of them"),
        ({"tls": {"key_file": "k.pem"}}, "a key_file but no cert_file"),
        ({"retry_status": [200]}, "300"),
        ({"timeout": "0s"}, "greater than 0"),
        ({"format": "xml"}, "record"),
        ({"source": ""}, "at least 1"),
        ({"source": "my source"}, "no URI"),
        ({"headers": {"X-A": "sesame", "x-a": "b"}}, "given twice"),
        ({"headers": {"Accept-Encoding": "gzip"}}, "set by tdbwatch"),
        ({"url": "http://sesame mill/"}, "a space in it"),
        ({"url": "http://sesame:99999/"}, "from 1 to 65535"),
        ({"url": "http://sesame..example/"}, "empty or too long"),
        ({"url": f"http://sesame{'x' * 60}.example/"}, "empty or too long"),
    ],
)
def test_options_that_cannot_work_are_refused_without_showing_a_secret(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookOptions.model_validate_json(json.dumps({"url": "http://host/", **options}))
    assert said in str(refused.value)
    assert "sesame" not in str(refused.value)


async def test_the_receivers_certificate_is_verified_and_ours_is_shown(
    tls_endpoint: Any, opened: Opened, certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    tls = {"ca_file": cert, "cert_file": cert, "key_file": key}
    async with opened(url=tls_endpoint.url, tls=tls) as sink:
        assert await sink.deliver(events(2)) == [DELIVERED] * 2
    async with opened(url=tls_endpoint.url, tls={**tls, "ca_file": None}) as sink:
        (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry)
        assert "its certificate is refused: self-signed certificate" in outcome.reason
    async with opened(url=tls_endpoint.url, tls={"ca_file": cert}) as sink:
        (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry)
    async with opened(url=tls_endpoint.url, tls={**tls, "ca_file": None, "verify": False}) as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
    assert len(tls_endpoint.received) == 3


async def test_secrets_that_are_rotated_count_for_the_next_request(endpoint: Any, opened: Opened) -> None:
    async with opened(auth={"bearer": "old-token"}, headers={"X-Key": "old-key"}, secret=WHSEC) as sink:
        assert await sink.deliver(events(1)) == [DELIVERED]
        options = sink.options
        bearer, key, secret = RotatingSecret("old-token"), RotatingSecret("old-key"), RotatingSecret(WHSEC)
        options.auth.__dict__["bearer"], options.headers["X-Key"] = bearer, key
        options.__dict__["secret"] = secret
        for rotated, value in ((bearer, "new-token"), (key, "new-key"), (secret, "n0t-the-0ne-before")):
            rotated.renew(value)
        assert await sink.deliver(events(1)) == [DELIVERED]
    before, after = (request.headers for request in endpoint.received)
    assert (after["authorization"], after["x-key"]) == ("Bearer new-token", "new-key")
    assert before["webhook-signature"] != after["webhook-signature"]


async def test_certificates_that_are_rotated_count_without_a_restart(
    tls_endpoint: Any,
    opened: Opened,
    certificate: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tdbwatch.sinks.webhook.transport._LOOK_SECONDS", 0.0)
    right = Path(certificate[0]).read_bytes()
    wrong = (Path(__file__).parent / "tls" / "expired.pem").read_bytes()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(wrong)
    tls = {"ca_file": str(ca_file), "cert_file": certificate[0], "key_file": certificate[1]}
    async with opened(url=tls_endpoint.url, tls=tls) as sink:
        assert isinstance((await sink.deliver(events(1)))[0], Retry)
        ca_file.write_bytes(right + b"\n")
        assert await sink.deliver(events(1)) == [DELIVERED]
        ca_file.write_bytes(b"half written")
        with capture_logs() as logs:
            assert await sink.deliver(events(3)) == [DELIVERED] * 3, "the old ones serve meanwhile"
        assert [line["event"] for line in logs] == ["webhook.tls_files_unusable"]
        assert str(ca_file) in logs[0]["error"]
        ca_file.write_bytes(right)
        assert await sink.deliver(events(1)) == [DELIVERED]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("expired", "/...: its certificate is refused: certificate has expired"),
        ("elsewhere", "certificate is not valid for '127.0.0.1'"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_said(
    opened: Opened, serving_with: Any, name: str, said: str
) -> None:
    folder = Path(__file__).parent / "tls"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / f"{name}.pem", folder / "key.pem")
    async with serving_with(context) as endpoint:
        url = endpoint.url.replace("http://", "https://")
        async with opened(url=url, tls={"ca_file": str(folder / f"{name}.pem")}) as sink:
            (outcome,) = await sink.deliver(events(1))
        assert isinstance(outcome, Retry)
        assert said in outcome.reason
        assert "/hook" not in outcome.reason
        assert not endpoint.received


async def test_a_proxy_is_asked_to_connect_with_its_credentials_only(
    tls_endpoint: Any, opened: Opened, certificate: tuple[str, str]
) -> None:
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", tls_endpoint.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    cert, key = certificate
    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with (
        proxy,
        opened(
            url=tls_endpoint.url,
            headers={"X-Key": "sesame"},
            auth={"bearer": "sesame"},
            proxy=f"http://proxy-user:proxy-pass@127.0.0.1:{proxy.sockets[0].getsockname()[1]}",
            tls={"ca_file": cert, "cert_file": cert, "key_file": key},
        ) as sink,
    ):
        assert await sink.deliver(events(1)) == [DELIVERED]
        tls_endpoint.answers(407)  # through the tunnel it is the receiver's own answer
        assert await sink.deliver(events(1)) == [Rejected("HTTP 407")]
    (request,) = asked
    assert request.startswith(f"CONNECT 127.0.0.1:{tls_endpoint.port}".encode())
    assert b"Basic cHJveHktdXNlcjpwcm94eS1wYXNz" in request
    assert b"sesame" not in request
    assert tls_endpoint.received[0].headers["authorization"] == "Bearer sesame"
    assert "proxy-authorization" not in tls_endpoint.received[0].headers


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_a_certificate_that_cannot_be_read_is_said_at_opening(tmp_path: Any) -> None:
    options = {"url": "https://host/", "tls": {"cert_file": str(tmp_path / "none.pem")}}
    sink = WebhookSink(WebhookOptions.model_validate_json(json.dumps(options)), SinkContext("hook"))
    with pytest.raises(OSError, match=r"none\.pem"):
        await sink.open()


async def test_opening_again_and_closing_twice_are_fine(endpoint: Any, opened: Opened) -> None:
    async with opened() as sink:
        await sink.open()
        assert await sink.deliver(events(1)) == [DELIVERED]
        await sink.close()
        await sink.close()
