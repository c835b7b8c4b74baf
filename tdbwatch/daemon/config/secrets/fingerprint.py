"""What tells whether something is configured as before. Nothing of it can be read back."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path as FilePath
from typing import Any, Final

from tdbwatch.daemon.config.problems import RefusedError
from tdbwatch.daemon.config.secrets.secret_keys import read_bytes

_SUFFIX: Final = "_file"
_MOST_BYTES: Final = 1 << 20


def fingerprint(data: Any, folder: FilePath | None = None) -> str:
    """A hash of plain data; with a folder, of the content of files that keys ending in `_file` name, too.

    So a certificate that was replaced is another one. Blocks on the disk.
    """
    text = json.dumps(data, sort_keys=True, default=str)
    content = [] if folder is None else [_content(folder / name) for name in sorted(_files(data))]
    return sha256(b"\0".join([text.encode(), *content])).hexdigest()


def _files(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, str) and str(key).endswith(_SUFFIX):
                yield value
            else:
                yield from _files(value)
    elif isinstance(data, list):
        for value in data:
            yield from _files(value)


def _content(file: FilePath) -> bytes:
    try:
        return sha256(read_bytes(file, _MOST_BYTES)).digest()
    except (RefusedError, ValueError):  # whoever opens it says what is wrong with it
        return b""
