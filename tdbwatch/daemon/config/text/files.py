"""Who can write the configuration and its secrets' files: only who may have tdbwatch do anything."""

from pathlib import Path as FilePath

from tdbwatch.daemon.config.problems import Problem
from tdbwatch.daemon.config.text.tree import Tree
from tdbwatch.daemon.security.trust import why_not_trusted


def check_own_files(tree: Tree, *, from_shell: bool) -> None:
    """Complain where others can write a file of the configuration.

    Args:
        from_shell: who runs this need not be who runs the service: another's file is only doubtful.
    """
    for file in (tree.file, *tree.included):
        try:
            distrust = why_not_trusted(FilePath(file))
        except OSError:  # it came from elsewhere, or is gone by now
            continue
        if distrust is None:
            continue
        if distrust.is_owner and from_shell:
            reason = f"{distrust.reason}; only that user or root can run it"
            tree.warnings.append(Problem(file, 1, 1, "", reason, distrust.remedy, is_warning=True))
        else:
            tree.problems.append(Problem(file, 1, 1, "", distrust.reason, distrust.remedy))


def check_secret_files(tree: Tree) -> None:
    """Complain of secrets' files that others can write. Who owns one is whoever issues the secret."""
    told = set()
    for path, file in tree.files.items():
        if (file, tree.place(path)) in told:  # a default that several sinks have
            continue
        told.add((file, tree.place(path)))
        try:
            distrust = why_not_trusted(file)
        except OSError:  # it was read a moment ago
            continue
        if distrust is not None and not distrust.is_owner:
            tree.complain(path, distrust.reason, distrust.remedy)
