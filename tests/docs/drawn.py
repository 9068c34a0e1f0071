"""Draws the images of a page anew: runs its Python blocks where images are kept. `make plots` calls it."""

import os
import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main(page: Path, folder: Path) -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # no date in the files: same page, same bytes
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = "tieline"
    text = page.read_text(encoding="utf-8")
    os.chdir(folder)
    for block in BLOCK.finditer(text):
        exec(compile(block[1], str(page), "exec"), {"__name__": "__docs__"})  # our own docs


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
