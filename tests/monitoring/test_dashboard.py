"""The Grafana dashboard can be imported anywhere, and asks for metrics that there are."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml

from .kit import CONFIG, metric_names, metrics_in

DASHBOARD = CONFIG / "grafana" / "tdbwatch.json"
BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {"$__rate_interval": "1m", "$__range": "6h", "$job": "tdbwatch", "$instance": ".*"}


def expressions() -> Iterator[str]:
    """All that is asked of Prometheus, as Grafana would ask it."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for expression in asked + [each["expr"] for each in BOARD["annotations"]["list"]]:
        yield re.sub(r"\$\w+", lambda variable: VARIABLES[variable[0]], expression)


def test_it_asks_for_metrics_that_there_are() -> None:
    named = {name for expression in expressions() for name in metrics_in(expression)}
    assert len(named) > 30
    assert named - metric_names() == set()


def test_prometheus_understands_each_question(promtool: str, tmp_path: Any) -> None:
    rules = [{"record": f"panel:{i}", "expr": text} for i, text in enumerate(expressions())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = subprocess.run(
        [promtool, "check", "rules", file], capture_output=True, text=True, timeout=30, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_belongs_to_no_grafana_in_particular() -> None:
    sources = {source["uid"] for source in _values(BOARD, "datasource")}
    assert sources == {"${datasource}"}
    kinds = {each["name"]: each["type"] for each in BOARD["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "job": "query", "instance": "query"}
    assert BOARD.get("id") is None, "a number is of one Grafana"


def test_each_panel_says_what_it_shows_and_none_covers_another() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        here = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in here) < 24
        assert not here & cells, panel["title"]
        cells |= here
    assert all(panel["title"] and panel["description"] for panel in PANELS)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_its_variables_are_all_defined() -> None:
    used = set(re.findall(r"\$\{?([a-z]\w*)", DASHBOARD.read_text()))
    assert used == {each["name"] for each in BOARD["templating"]["list"]}


def _values(tree: Any, key: str) -> Iterator[Any]:
    if isinstance(tree, dict):
        if key in tree:
            yield tree[key]
        tree = list(tree.values())
    if isinstance(tree, list):
        for each in tree:
            yield from _values(each, key)
