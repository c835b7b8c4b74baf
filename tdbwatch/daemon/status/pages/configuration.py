"""The page of the configuration in use. Pure."""

from tdbwatch.daemon.reload.verdict import Verdict
from tdbwatch.daemon.status.health import problems, state_of
from tdbwatch.daemon.status.pages.frame import frame
from tdbwatch.daemon.status.pages.markup import Markup, badge, element, section
from tdbwatch.daemon.status.pages.times import clock_time
from tdbwatch.daemon.status.snapshot import Snapshot
from tdbwatch.printable import printable
from tdbwatch.redaction import presentable, redact

_CLOSED = "The configuration is shown only if there is an http.token: it names hosts, paths and conditions."
_MOST = 100
"""Problems and changes of a reload that are named."""
_REMARK = "merged from all files; what is not written has its default; secrets are stars"


def _last_reload(verdict: Verdict | None) -> Markup:
    """What came of it; the problems of a refused one are on the status page, too."""
    if verdict is None:
        return section("Last reload", "none since the start")
    problems = [f"{one.place}: {one.path}: {one.message}" for one in verdict.problems]
    said = [*problems, *verdict.changes]
    more = [f"and {len(said) - _MOST:,} more"] if len(said) > _MOST else []
    items = [element("li", presentable(text)) for text in [*said[:_MOST], *more]]
    state = badge(verdict.word, "ok" if verdict.accepted else "trouble")
    when = element("p", state, " ", clock_time(verdict.at_us), ": ", presentable(verdict.summary), ".")
    return section("Last reload", "", when, *([element("ul", *items)] if items else []))


def render(snapshot: Snapshot, text: str, *, is_open: bool) -> str:
    """The whole document.

    Args:
        text: the configuration, as YAML without secrets.
        is_open: whether it may be shown.
    """
    lines = "\n".join(map(printable, redact(text).splitlines()))
    shown = element("pre", lines) if is_open else element("p", _CLOSED)
    waiting = snapshot.config.restart
    wait = "Shown as written; these wait for a restart" if is_open else "These wait for a restart"
    later = element("p", f"{wait}: {', '.join(waiting)}.", class_="bad")
    since = element("p", "In use since ", clock_time(snapshot.config.since_us or snapshot.started_us), ".")
    return frame(
        snapshot,
        state_of(snapshot, problems(snapshot)),
        "config",
        "",
        _last_reload(snapshot.config.verdict),
        section(
            "Configuration in use", _REMARK if is_open else "", since, *([later] if waiting else []), shown
        ),
    )
