"""Where variables are read, and which place wins."""

import os

import pytest

from arkbatch.config.variables import exposed_files, read_variables
from arkbatch.core.errors import UsageError


def test_the_real_environment_wins_over_the_job_s_env_file_and_that_over_the_working_directory_s(folders):
    job, cwd = folders
    (job / ".env").write_text("ARK_MODEL=job\nARK_API_KEY=job\n")
    (cwd / ".env").write_text("ARK_MODEL=cwd\nARK_API_KEY=cwd\nARK_BASE_URL=https://cwd.volces.com\n")
    variables = read_variables({"ARK_API_KEY": "real"}, folders)
    assert [variables.get(name) for name in ("ARK_API_KEY", "ARK_MODEL", "ARK_BASE_URL")] == [
        "real",
        "job",
        "https://cwd.volces.com",
    ]


def test_an_env_file_is_read_as_written_and_changes_nothing_outside(folders):
    (folders[0] / ".env").write_bytes("\ufeffexport ARK_API_KEY='a$HOME#b' # 密钥\r\nOPENAI_API_KEY=\r\n".encode())
    before = dict(os.environ)
    assert read_variables({}, folders).get("ARK_API_KEY") == "a$HOME#b"
    assert dict(os.environ) == before


def test_an_env_file_that_is_not_text_is_named(folders):
    (folders[1] / ".env").write_bytes(b"ARK_API_KEY=\xff\n")
    with pytest.raises(UsageError, match=r"\.env cannot be read"):
        read_variables({}, folders)


@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o640, True), (0o604, True), (0o600, False)])
@pytest.mark.parametrize("name", ["ARK_API_KEY", "DEEPSEEK_API_KEY", "GATEWAY_TOKEN"])
def test_an_env_file_with_keys_that_others_can_read_is_told(folders, mode, is_told, name):
    file = folders[0] / ".env"
    file.write_text(f"{name}=a\n")
    file.chmod(mode)
    (folders[1] / ".env").write_text("ARK_MODEL=m\n")
    told = exposed_files(read_variables({}, folders))
    assert told == ((f"others can read the keys in {file}:  chmod 600 {file}",) if is_told else ())
