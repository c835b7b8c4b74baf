"""Options of TLS: whom to trust, and a certificate to show."""

import ssl

from pydantic import Field, model_validator

from tdbwatch.plugin.options import FilePath, OptionError, Options
from tdbwatch.tls_files import TlsFiles


class Tls(Options):
    """Whom to trust, and a certificate to show."""

    ca_file: FilePath | None = Field(
        None, description="Certificates to trust instead of the system's, in PEM."
    )
    cert_file: FilePath | None = Field(None, description="Our certificate and its chain, in PEM.")
    key_file: FilePath | None = Field(None, description="The certificate's key, if it is not in cert_file.")
    verify: bool = Field(default=True, description="False trusts anyone: for tests only.")

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> "Tls":
        if self.key_file is not None and self.cert_file is None:
            raise OptionError("there is a key_file but no cert_file", "add cert_file")
        return self

    def context(self) -> ssl.SSLContext:
        """A context for a client, made of the files as they are now: call it for each connection.

        It blocks on the disk for a moment, which harms nobody in a sink's own thread.

        Raises:
            OSError: a file cannot be read, or holds no certificate; the message names it.
        """
        return TlsFiles(self).load()
