"""What is installed is whole: the wheel and the source archive work in an empty environment."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The wheel, which is made of the source archive as a package index would get it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


def test_the_wheel_runs_the_demo_in_an_environment_of_its_own(archives, tmp_path):
    """The dependencies are those of this environment, so that nothing is fetched; `.ci/run` installs them afresh."""
    venv.create(tmp_path / "env", system_site_packages=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    (wheel,) = archives.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    here = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{here}\n", encoding="utf-8")  # found after what is installed here
    arkbatch = tmp_path / "env" / "bin" / "arkbatch"
    assert str(site) in run(python, "-c", "import arkbatch; print(arkbatch.__file__)", cwd=tmp_path)
    run(arkbatch, "init", "demo", cwd=tmp_path)
    assert "10 succeeded" in run(arkbatch, "run", "demo/job.toml", "--simulate", cwd=tmp_path)
    assert (tmp_path / "demo" / "job.run" / "results.jsonl").exists()


def test_the_source_archive_has_what_the_readme_needs(archives):
    import tarfile

    (archive,) = archives.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "jobs/quickstart.toml", "docs/quickstart.md"} <= names
