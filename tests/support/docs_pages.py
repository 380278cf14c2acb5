"""The blocks of code in the README and the pages of docs/, and a directory in which they run."""

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What makes an environment; tests/test_package.py runs it in an empty one.
SETS_UP = "python3 -m venv"


def pages():
    """README.md and the English pages; the Chinese ones show the same commands."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, *kinds):
    """Kind and text of each fenced block, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [(kind, text) for kind, text in found if kind in kinds]


def workshop(folder):
    """A directory as a user has it: the examples, and `arkbatch` on the PATH."""
    shutil.copytree(ROOT / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("*.run"))
    home = folder / "home"
    home.mkdir()
    keep = {name: os.environ[name] for name in ("LANG", "PYTHONPATH", "TMPDIR") if name in os.environ}
    return keep | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home)}
