"""The Python in the README and the docs runs from top to bottom, without a warning (pytest makes
them errors).
"""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [
    page
    for page in [*ROOT.glob("README.md"), *sorted(ROOT.glob("docs/**/*.md"))]
    if BLOCK.search(page.read_text("utf-8"))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    with torch.random.fork_rng():
        for block in BLOCK.finditer(text):
            # Empty lines in front, so that a traceback shows the line of the page.
            first_line = text.count("\n", 0, block.start(1))
            exec(compile("\n" * first_line + block[1], str(page), "exec"), namespace)
