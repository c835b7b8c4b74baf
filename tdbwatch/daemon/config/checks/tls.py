"""TLS files that make no context: with them nobody can be connected to."""

from collections.abc import Iterator, Sequence

from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.models.thingsdb import TlsConfig
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.plugin.tls import Tls
from tdbwatch.tls_files import TlsFiles

_REMEDY = "see that each is there, in PEM, and that the key is the certificate's"


def check_node_tls(tree: Tree, tls: TlsConfig | None, *, from_shell: bool = False) -> None:
    """Complain of those of the nodes: without nodes nothing is heard.

    Args:
        from_shell: who runs this need not be who runs the service, which alone may be able to read a file.
    """
    path = ("thingsdb", "tls")
    try:
        if tls is not None:
            TlsFiles(tls).load()
    except PermissionError as error:
        if from_shell:
            tree.leave(path, f"only the service can read a file: {error.strerror}")
        else:
            tree.complain(path, f"a file cannot be read: {error.strerror}", "let the daemon's user read it")
    except OSError as error:
        tree.complain(path, f"the files cannot be used: {error.strerror}", _REMEDY)


def doubt_sink_tls(tree: Tree, sinks: Sequence[SinkConfig]) -> None:
    """Warn of those of sinks: they fail, and no other one."""
    for sink in sinks:
        for key, tls in _tls_of(sink):
            try:
                tls.context()
            except OSError as error:
                path = ("sinks", sink.name, key)
                tree.warn(path, f"the files cannot be used now: {error.strerror}", _REMEDY)


def _tls_of(sink: SinkConfig) -> Iterator[tuple[str, Tls]]:
    for key in type(sink.options).model_fields:
        if isinstance(value := getattr(sink.options, key), Tls):
            yield key, value
