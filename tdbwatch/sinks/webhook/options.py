"""Options of the webhook sink. What may hold a token (URLs, headers) is a `Secret`, so no `repr` shows it."""

import re
from typing import Annotated, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tdbwatch.plugin import (
    Duration,
    JsonTemplate,
    OptionError,
    Options,
    Secret,
    Template,
    TemplateError,
    Tls,
)
from tdbwatch.plugin.json_template import check_json
from tdbwatch.plugin.template import has_tag
from tdbwatch.sinks.webhook.addresses import check_template, check_url, is_uri_reference, parse_url
from tdbwatch.sinks.webhook.answers import PAUSES
from tdbwatch.sinks.webhook.signing import signer_of

Format = Literal["record", "standard", "batch", "cloudevents", "cloudevents-binary", "cloudevents-batch"]
TOGETHER: Final = frozenset({"batch", "cloudevents-batch"})
"""The formats that put several events into one request."""
Status = Annotated[int, Field(ge=300, le=599)]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_DNS_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ONE_LINE: Final = "write it on one line"
_OURS: Final = frozenset(
    {"content-length", "content-type", "host", "transfer-encoding", "connection", "accept-encoding"}
    | {"expect", "upgrade", "te", "trailer"}  # they change how requests and answers follow each other
    | {"webhook-id", "webhook-timestamp", "webhook-signature"}
)


def _check_header(name: str, source: str) -> None:
    try:
        Template(source)
    except TemplateError as error:
        raise error.at(f"the header {name}") from None


class Basic(Options):
    """A user and a password, as HTTP Basic sends them (RFC 7617)."""

    username: str = Field(description="The user's name.")
    password: Secret = Field(description="The user's password.")


class Auth(Options):
    """How to prove who we are: one of the two."""

    basic: Basic | None = Field(None, description="User and password.")
    bearer: Secret | None = Field(None, description="A token, sent as `Authorization: Bearer`.")

    @field_validator("bearer")
    @classmethod
    def _can_be_sent(cls, value: Secret | None) -> Secret | None:
        if value is not None and _CONTROL.search(value.get_secret_value()):
            raise OptionError("the token contains a control character, such as a newline", _ONE_LINE)
        return value

    @model_validator(mode="after")
    def _is_one(self) -> "Auth":
        if (self.basic is None) == (self.bearer is None):
            raise OptionError("must be either basic or bearer")
        return self


class Handshake(Options):
    """Ask the receiver first whether it wants our events (CloudEvents' web hooks)."""

    origin: str = Field(description="Who we are, a DNS name: sent with the question and every request.")
    rate: int | None = Field(None, ge=1, description="Requests a minute that we would like to send.")

    @field_validator("origin")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not _DNS_NAME.fullmatch(value):
            raise OptionError("this is no DNS name", "write for instance watch.example.org")
        return value


def is_json(content_type: str | None) -> bool:
    """Whether a body of this type is JSON."""
    return content_type is not None and re.search(r"[/+]json\b", content_type) is not None


def _body(value: object, info: ValidationInfo) -> Template:
    """Of text a template; of what JSON has a template of JSON."""
    if isinstance(value, Template):
        return value
    if not isinstance(value, str):
        return JsonTemplate(value)
    if not is_json(info.data.get("content_type")):
        return Template(value)
    return check_json(Template(value, "json"))


Body = Annotated[
    InstanceOf[Template],
    BeforeValidator(_body),
    WithJsonSchema({"type": ["string", "object", "array"]}),
]


class WebhookOptions(Options):
    """Options of `type: webhook`."""

    url: Secret = Field(
        description="Where to send to, shown nowhere but by scheme and host; after the host a template."
    )
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="The HTTP method.")
    format: Format = Field("record", description="What the body is: one event's, or a whole batch's.")
    source: str | None = Field(
        None, min_length=1, description="The CloudEvents `source`; by default the scope, `tdbwatch://stuff`."
    )
    content_type: str | None = Field(
        None, min_length=1, description="The type of a `body` that is text; by default `text/plain`."
    )
    body: Body | None = Field(
        None,
        description="What to send instead: a template, or a mapping or list of them, which becomes JSON.",
    )
    headers: dict[str, Secret] = Field(
        default_factory=dict, description="More headers; their values may be templates."
    )
    secret: Secret | list[Secret] | None = Field(
        None,
        description="Key to sign with (Standard Webhooks): `whsk_...`, `whsec_...` or raw; or several.",
    )
    auth: Auth | None = Field(None, description="Basic or bearer authentication.")
    handshake: Handshake | None = Field(None, description="Ask whether the receiver wants our events.")
    tls: Tls = Field(default_factory=Tls, description="Certificates.")
    proxy: Secret | None = Field(None, description="URL of an HTTP proxy.")
    timeout: Duration = Field(
        30.0, gt=0, description="The longest that one delivery may take, and so each request of it."
    )
    retry_status: list[Status] = Field(
        default_factory=list, description="More status codes to try again after, such as 403 or 404."
    )

    pause_status: list[Status] = Field(
        default_factory=lambda: list(PAUSES),
        description="Status codes after which the sink rests until somebody mends something.",
    )

    @property
    def present_secrets(self) -> tuple[str, ...]:
        """All of them as they are now."""
        auth = self.auth or Auth.model_construct()
        ours = [self.url, self.proxy, auth.bearer, auth.basic.password if auth.basic else None]
        all_of_them = [*ours, *self.headers.values(), *self.secrets]
        return tuple(secret.get_secret_value() for secret in all_of_them if secret is not None)

    @property
    def secrets(self) -> list[Secret]:
        """The keys to sign with; none: do not sign."""
        if self.secret is None:
            return []
        return self.secret if isinstance(self.secret, list) else [self.secret]

    @field_validator("url", "proxy")
    @classmethod
    def _is_http(cls, value: Secret | None) -> Secret | None:
        if value is not None:
            check_template(value.get_secret_value())
            check_url(value.get_secret_value())
        return value

    @field_validator("content_type")
    @classmethod
    def _can_be_a_header(cls, value: str | None) -> str | None:
        if value is not None and (_CONTROL.search(value) or not value.isascii()):
            raise OptionError("this is no media type", "write for instance application/json")
        return value

    @field_validator("source")
    @classmethod
    def _is_a_uri(cls, value: str | None) -> str | None:
        if value is not None and not is_uri_reference(value):
            raise OptionError(
                "this is no URI", "write for instance urn:example:ops or https://example.org/ops"
            )
        return value

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, value: dict[str, Secret]) -> dict[str, Secret]:
        if len({name.lower() for name in value}) < len(value):
            raise OptionError("a header is given twice", "upper and lower case are the same in their names")
        for name, content in value.items():
            if not _TOKEN.fullmatch(name):
                raise OptionError(f"{name!r} cannot be the name of a header", "it has letters, digits and -")
            if name.lower() in _OURS or name.lower().startswith("ce-"):
                raise OptionError(f"the header {name} is set by tdbwatch itself", "remove it")
            if _CONTROL.search(content.get_secret_value()):
                raise OptionError(
                    f"the header {name} contains a control character, such as a newline", _ONE_LINE
                )
            if has_tag(content.get_secret_value()):
                _check_header(name, content.get_secret_value())
        return value

    @field_validator("secret")
    @classmethod
    def _keys_decode(cls, value: Secret | list[Secret] | None) -> Secret | list[Secret] | None:
        for secret in value if isinstance(value, list) else [value] if value is not None else []:
            signer_of(secret.get_secret_value())
        if value == []:
            raise OptionError("an empty list signs nothing", "leave secret out if that is meant")
        return value

    @model_validator(mode="after")
    def _templates_have_one_event(self) -> "WebhookOptions":
        if self.body is not None and self.format != "record":
            raise OptionError("body says what to send, and so does format", "leave one of them out")
        if self.content_type is not None and (self.body is None or isinstance(self.body, JsonTemplate)):
            raise OptionError("content_type is for a body that is text", "leave it out")
        templates = [self.url, *self.headers.values()]
        if self.format in TOGETHER and any(has_tag(text.get_secret_value()) for text in templates):
            raise OptionError(
                "this format sends many events at once, and a template is about one",
                "write another format, or no template",
            )
        return self

    @model_validator(mode="after")
    def _proves_itself_once(self) -> "WebhookOptions":
        ways = [
            self.auth is not None,
            parse_url(self.url.get_secret_value()).raw_user is not None,
            any(name.lower() == "authorization" for name in self.headers),
        ]
        if sum(ways) > 1:
            raise OptionError(
                "there are several ways to prove who we are",
                "give one of them: auth, user and password in the url, or an Authorization header",
            )
        return self
