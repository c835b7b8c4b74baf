"""What the coverage-guided fuzzer found interesting stays harmless (`link_bytes.py` finds more)."""

import runpy
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").iterdir())


def test_every_input_of_the_corpus_ends_cleanly():
    one_input = runpy.run_path(str(HERE / "link_bytes.py"))["one_input"]
    assert len(CORPUS) >= 20
    for path in CORPUS:
        one_input(path.read_bytes())
