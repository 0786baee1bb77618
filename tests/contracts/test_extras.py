"""Without an extra everything that does not need it works; a feature that needs it names the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.running import ROUTING, clean_environ

# Runs the command as if the packages of `receiver[oidc]` were not installed.
WITHOUT_OIDC = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        is_missing = name.partition(".")[0] in ("authlib", "joserfc")
        return None if is_missing else super().find_spec(name, path, target)

sys.meta_path[:] = [Finder if one is PathFinder else one for one in sys.meta_path]
"""
CHECK = WITHOUT_OIDC + "from receiver.cli import main\nsys.exit(main())"
# Builds the web process and the worker, and imports every module except the one that needs the extra.
BUILD = (
    WITHOUT_OIDC
    + """
import importlib, pkgutil, receiver
names = [one.name for one in pkgutil.walk_packages(receiver.__path__, "receiver.")]
for name in names:
    if name not in ("receiver.__main__", "receiver.web.auth.oidc", "receiver.web.auth.login"):
        importlib.import_module(name)
print(len(names))
"""
)
OIDC = {
    "OIDC_ISSUER": "https://login.example.org",
    "OIDC_CLIENT_ID": "receiver",
    "OIDC_CLIENT_SECRET": "a-client-secret",
    "PUBLIC_URL": "https://receiver.example.org",
}


def run(folder: Path, code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "routing.yaml").write_text(ROUTING)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=clean_environ(**environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_everything_but_the_login_works_without_the_extra(tmp_path: Path) -> None:
    ended = run(tmp_path, BUILD)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > 100
    assert run(tmp_path, CHECK, "check").returncode == 0


def test_a_configured_provider_without_the_extra_is_a_fault_that_says_what_to_install(tmp_path: Path) -> None:
    ended = run(tmp_path, CHECK, "check", **OIDC)
    assert ended.returncode != 0
    assert "pip install 'receiver[oidc]'" in ended.stdout + ended.stderr


def test_a_configured_provider_with_the_extra_is_no_fault(tmp_path: Path) -> None:
    with_oidc = CHECK.removeprefix(WITHOUT_OIDC)
    assert run(tmp_path, "import sys\n" + with_oidc, "check", **OIDC).returncode == 0
