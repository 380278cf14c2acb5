"""Prints the lowest version of each dependency that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

BOUND = re.compile(r"([\w.-]+)>=([\w.]+)[^;]*(;.*)?")
EXTRAS = ("metrics", "seal", "schema", "excel", "zstd")  # small ones; the others are large and have tests of their own

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
needed = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
for requirement in needed:
    if found := BOUND.fullmatch(requirement):
        print(f"{found[1]}=={found[2]}{found[3] or ''}")
