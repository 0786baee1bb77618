"""pyproject.toml: every import is declared, every dependency has its reason, and the licence file exists."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)["project"]
DEPENDENCIES = [Requirement(each) for each in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(each) for each in needed]
    for name, needed in PROJECT["optional-dependencies"].items()
    if name != "dev"
}
EXTRA_DEPENDENCIES = [each for needed in EXTRAS.values() for each in needed]
DEV_DEPENDENCIES = [Requirement(each) for each in PROJECT["optional-dependencies"]["dev"]]
# Where an extra may be imported: what imports these does it only if they are configured.
IMPORTS_EXTRAS = {"receiver/web/auth/oidc.py": "oidc"}
OURS = {"receiver", "tests", "bench"}


def imported_by(*folders: str) -> dict[str, str]:
    """Return the third-party packages imported by the code in *folders*, each with one file that imports it."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for module in imports_in(ast.parse(path.read_text())):
                package = module.partition(".")[0]
                if package not in sys.stdlib_module_names and package not in OURS:
                    found[package] = str(path.relative_to(ROOT))
    return found


def imports_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def undeclared(packages: dict[str, str], declared: Iterable[Requirement]) -> dict[str, str]:
    names = {canonicalize_name(each.name) for each in declared}
    brought_by = packages_distributions()
    return {
        package: path
        for package, path in packages.items()
        if names.isdisjoint(map(canonicalize_name, brought_by.get(package, [package])))
    }


def test_every_import_of_the_receiver_is_declared() -> None:
    packages = imported_by("receiver")
    assert {"certifi", "flask", "redis"} <= packages.keys()
    missing = undeclared(packages, DEPENDENCIES)
    assert {IMPORTS_EXTRAS.get(path) for path in missing.values()} <= EXTRAS.keys()
    assert undeclared(missing, EXTRA_DEPENDENCIES) == {}


def test_every_import_of_tests_and_benchmarks_is_declared() -> None:
    assert (
        undeclared(imported_by("tests", "bench"), [*DEPENDENCIES, *EXTRA_DEPENDENCIES, *DEV_DEPENDENCIES])
        == {}
    )


def test_an_import_that_is_not_declared_is_found() -> None:
    packages = {"yaml": "receiver/a.py", "requests": "receiver/b.py", "unheard_of": "receiver/c.py"}
    found = undeclared(packages, [Requirement("PyYAML>=6")])
    assert found == {"requests": "receiver/b.py", "unheard_of": "receiver/c.py"}


def test_every_dependency_has_its_reason() -> None:
    """In a comment after it, or in the comment above it, which may be for several lines."""
    lists = re.findall(r"^(?:dependencies|oidc|dev) = \[\n(.*?)^\]", TEXT, re.MULTILINE | re.DOTALL)
    assert len(lists) == 2 + len(EXTRAS)
    lacking = []
    for lines in (each.splitlines() for each in lists):
        above = ""
        for line in map(str.strip, lines):
            if line.startswith('"') and "#" not in line and not above.startswith("#"):
                lacking.append(line)
            # A comment above applies to the following lines without a comment of their own.
            above = above if line.startswith('"') and above.startswith("#") and "#" not in line else line
    assert lacking == []


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        # Its worker is subclassed, and the inherited methods change between major versions.
        ("gunicorn", ["23.0", "27.0.1"], ["28.0", "22.0"]),
        # The first version that runs on Python 3.14.
        ("msgspec", ["0.20.0"], ["0.19.0"]),
    ],
)
def test_versions_that_are_known_to_fail_are_excluded(name: str, good: list[str], bad: list[str]) -> None:
    (found,) = (each.specifier for each in DEPENDENCIES if each.name == name)
    assert [version for version in good if not found.contains(version)] == []
    assert [version for version in bad if found.contains(version)] == []


def test_the_licence_file_is_complete_and_named() -> None:
    # As published: https://www.apache.org/licenses/LICENSE-2.0.txt
    digest = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == digest
    assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert PROJECT["authors"] == [{"name": "The receiver authors"}]
    # The licence is declared by `license` only:
    # https://peps.python.org/pep-0639/#deprecate-license-classifiers
    assert not any(each.startswith("License ::") for each in PROJECT["classifiers"])
    assert "urls" not in PROJECT


def test_the_image_copies_all_files_of_the_package() -> None:
    needed = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
    copied = re.search(r"^COPY (pyproject\.toml .*) \./$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert copied is not None
    assert needed <= set(copied[1].split())
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert needed <= let_through


# --- the lock file of the image ---

LOCK = (ROOT / "requirements.lock").read_text()
LOCKED = [
    Requirement(line.partition(" \\")[0])
    for line in LOCK.splitlines()
    if line and not line.startswith((" ", "#"))
]


@pytest.mark.parametrize("dependency", [*DEPENDENCIES, *EXTRA_DEPENDENCIES], ids=str)
def test_the_lock_has_each_dependency_in_a_version_that_fits(dependency: Requirement) -> None:
    found = [one for one in LOCKED if canonicalize_name(one.name) == canonicalize_name(dependency.name)]
    assert found
    for one in found:
        (pin,) = one.specifier
        assert pin.operator == "=="
        assert dependency.specifier.contains(pin.version)


def test_the_lock_names_no_registry_and_has_hashes_for_all() -> None:
    assert "index" not in LOCK
    assert "://" not in LOCK
    blocks = re.split(r"\n(?! )", LOCK.strip())
    assert len(blocks) == len(LOCKED)
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_image_installs_only_locked_dependencies() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes --wheel-dir /wheels --requirement requirements.lock" in dockerfile
    assert "--no-deps --wheel-dir /wheels ." in dockerfile
    assert f"--find-links /wheels 'receiver[{','.join(EXTRAS)}]'" in dockerfile


def test_dockerignore_excludes_nothing_that_the_image_copies() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    given = (ROOT / ".dockerignore").read_text().splitlines()
    assert [name for name in copied if f"!{name.removeprefix('./')}" not in given] == []
