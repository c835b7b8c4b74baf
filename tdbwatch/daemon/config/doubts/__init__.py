"""What a configuration may say and hardly means: warnings, which keep nobody from starting.

Each has its place and its remedy, and shows no value.
"""

from collections.abc import Sequence

from tdbwatch.daemon.config.checks.tls import doubt_sink_tls
from tdbwatch.daemon.config.doubts.exposure import doubt_exposure
from tdbwatch.daemon.config.doubts.fields import doubt_fields
from tdbwatch.daemon.config.doubts.files import doubt_files
from tdbwatch.daemon.config.doubts.limits import doubt_limits
from tdbwatch.daemon.config.doubts.programs import doubt_programs
from tdbwatch.daemon.config.doubts.rooms import doubt_rooms
from tdbwatch.daemon.config.doubts.routes import doubt_routes
from tdbwatch.daemon.config.models.config import Sections
from tdbwatch.daemon.config.models.sinks import SinkConfig
from tdbwatch.daemon.config.text.tree import Tree


def doubt(tree: Tree, sections: Sections, sinks: Sequence[SinkConfig]) -> None:
    """Warn of all that can be told of a configuration in which nothing is wrong."""
    doubt_rooms(tree, sections)
    doubt_routes(tree, sections, sinks)
    doubt_fields(tree, sections)
    doubt_limits(tree, sections, sinks)
    doubt_exposure(tree, sections, sinks)
    doubt_files(tree, sections, sinks)
    doubt_programs(tree, sinks)
    doubt_sink_tls(tree, sinks)


__all__ = ["doubt"]
