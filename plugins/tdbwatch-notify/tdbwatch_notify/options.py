"""What users may write."""

from typing import Literal

from pydantic import Field, field_validator
from tdbwatch.plugin import Duration, OptionError, Options, Secret, Template

from tdbwatch_notify.service import Service


class NotifyOptions(Options):
    """Options of `type: notify`."""

    url: Secret = Field(description="Whom to tell, as one of Apprise's URLs.")
    title: Template = Field(
        default_factory=lambda: Template("{{ room }}: {{ event or kind }}"), description="The title."
    )
    body: Template = Field(
        default_factory=lambda: Template("{{ (data or details or args) | tojson }}"), description="The text."
    )
    severity: Template = Field(
        default_factory=lambda: Template("info"),
        description="`info`, `success`, `warning` or `failure`: a colour, an icon, or a pager's urgency.",
    )
    format: Literal["text", "markdown", "html"] = Field("text", description="What title and body are.")
    timeout: Duration = Field(30.0, gt=0, description="The longest that one call of the sink may take.")

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: Secret) -> Secret:
        try:
            Service(value.get_secret_value())
        except ValueError as error:
            raise OptionError(str(error), "its documentation shows the URL of each") from None
        return value
