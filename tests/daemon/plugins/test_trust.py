"""Plugins that others could have written are refused, with the remedy."""

from pathlib import Path

import pytest

from tdbwatch.daemon.security.trust import judge

from .kit import GOOD, Write, load, only_problem


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_can_write_is_refused_with_the_remedy(
    folder: Path, write: Write, mode: int
) -> None:
    file = write("bad.py", GOOD, mode)
    registry = load(folder)
    assert f"chmod go-w {file}" in only_problem(registry).remedy
    assert "good" not in registry.sink_types


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_folder_that_others_can_write_is_refused_with_the_remedy(
    folder: Path, write: Write, mode: int
) -> None:
    write("good.py", GOOD)
    folder.chmod(mode)
    registry = load(folder)
    assert f"chmod go-w {folder}" in only_problem(registry).remedy
    assert "good" not in registry.sink_types


def test_a_folder_that_all_programs_share_is_refused_and_left_as_it_is(folder: Path, write: Write) -> None:
    write("good.py", GOOD)
    folder.chmod(0o1777)
    registry = load(folder)
    assert only_problem(registry).remedy == "name a folder in it that is yours alone"
    assert "good" not in registry.sink_types


def test_a_link_is_trusted_as_what_it_points_to(folder: Path, tmp_path: Path) -> None:
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    (open_folder / "target.py").write_text(GOOD)
    (open_folder / "target.py").chmod(0o644)
    (folder / "link.py").symlink_to(open_folder / "target.py")
    (folder / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    registry = load(folder)
    found = {problem.plugin: problem for problem in registry.problems}
    assert f"chmod go-w {open_folder}" in found["link"].remedy
    assert "No such file" in found["dangling"].reason
    assert "good" not in registry.sink_types


@pytest.mark.parametrize("below", ["", "closed"])
def test_a_link_that_others_could_lead_elsewhere_is_refused(
    folder: Path, write: Write, tmp_path: Path, below: str
) -> None:
    write("good.py", GOOD)
    open_folder = tmp_path / "open"
    (open_folder / below).mkdir(parents=True)
    link = open_folder / below / "plugins.d"
    link.symlink_to(folder)
    assert load(link).problems == []
    open_folder.chmod(0o777)
    registry = load(link)
    assert f"chmod go-w {open_folder}" in only_problem(registry).remedy
    assert "good" not in registry.sink_types
    open_folder.chmod(0o1777)
    assert load(link).problems == [], "our own link in a folder as /tmp nobody can replace"


def test_a_link_of_another_user_is_refused_whatever_it_leads_to() -> None:
    distrust = judge(Path("/tmp/plugins.d"), owner=1001, mode=0o120777, user=1000)
    assert distrust is not None
    assert "is a link of user 1001" in distrust.reason
    assert judge(Path("/tmp/plugins.d"), owner=0, mode=0o120777, user=1000) is None


def test_a_file_of_another_user_is_refused_and_one_of_root_or_our_own_is_not() -> None:
    path = Path("/etc/tdbwatch/plugins.d/a.py")
    distrust = judge(path, owner=1001, mode=0o100644, user=1000)
    assert distrust is not None
    assert "belongs to user 1001" in distrust.reason
    assert judge(path, owner=0, mode=0o100644, user=1000) is None
    assert judge(path, owner=1000, mode=0o100600, user=1000) is None


def test_a_compiled_file_never_stands_in_for_the_source(folder: Path, write: Write) -> None:
    import py_compile

    file = write("good.py", GOOD.replace('"good"', '"evil"'))
    py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    write("good.py", GOOD)
    registry = load(folder)
    assert "good" in registry.sink_types
    assert "evil" not in registry.sink_types
