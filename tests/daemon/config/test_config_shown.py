"""The configuration as it is shown: all that the files say, and none of the secrets."""

from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tdbwatch.daemon.config import parse
from tdbwatch.daemon.config.secrets.shown import shown
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.plugins import load_plugins
from tdbwatch.daemon.security.secrets import secrets_in

ROOT = Path(__file__).parents[3]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\té"))
)
KEYS = st.text("abcxyz_-", min_size=1, max_size=9)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
TEXT = """\
thingsdb: {nodes: ["${NODE}"], auth: {username: u, password: pa55word}}
rooms: [alerts, {name: deploys, scope: //ops}]
sinks:
  hook:
    type: webhook
    url: https://hooks.example.org/t0ken
    headers: {X-Key: k3y-of-hook, X-File: {file: key}}
    auth: {bearer_file: key}
http: {listen: "127.0.0.1:0", token: t0ken-of-http-port}
spool: {path: spool.db}
"""


@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=9), DATA, min_size=1, max_size=3))
def test_what_is_shown_is_yaml_and_says_the_same(data: dict[str, object]) -> None:
    assert yaml.safe_load(shown(Tree("prod.yaml", data=data))) == data


def test_secrets_and_what_the_environment_holds_are_stars(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file")
    document = parse(TEXT.encode(), str(tmp_path / "prod.yaml"), {"NODE": "node-of-the-environment"})
    config = document.config(load_plugins([]).sink_types)
    found = yaml.safe_load(config.shown)
    stars = "*" * 10
    assert found["thingsdb"] == {
        "nodes": [f"{stars} (what ${{NODE}} holds)"],
        "auth": {"username": "u", "password": stars},
    }
    from_file = f"{stars} (from {tmp_path / 'key'})"
    assert found["sinks"]["hook"]["headers"] == {"X-Key": stars, "X-File": from_file}
    assert found["sinks"]["hook"]["auth"]["bearer"] == from_file
    assert found["http"] == {"listen": "127.0.0.1:0", "token": stars}
    assert [room["name"] for room in found["rooms"]] == ["alerts", "deploys"]
    for secret in (*secrets_in(config), "node-of-the-environment"):
        assert secret not in config.shown
