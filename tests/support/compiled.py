"""Compile the rules and templates of Flask applications, and parse a routing.yaml, once for a test process.

A test builds several applications, and production only one for each process. Werkzeug compiles two functions for
each URL rule, Jinja a module for each template: that took more time than all requests of most tests. PyYAML needs
4 ms for the routing.yaml of `tests/rig.py`, which a thousand tests load.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import yaml
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule


class _MemoryCache(BytecodeCache):
    """Jinja's compiled templates; Jinja compares the checksum of a template's source itself."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


class _CompiledRule(Rule):
    """A URL rule whose building functions are shared: they take the rule as their first argument."""

    _builders: dict[object, Callable[..., tuple[str, str]]] = {}  # noqa: RUF012  # shared on purpose

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        if self.defaults:
            return super()._compile_builder(append_unknown)
        key = self.rule, tuple(self._trace), append_unknown
        if key not in self._builders:
            self._builders[key] = super()._compile_builder(append_unknown)
        return self._builders[key]


@functools.lru_cache(64)
def _compose(text: str, Loader: type[yaml.SafeLoader]) -> yaml.Node | None:  # noqa: N803  # PyYAML's name
    """Return the nodes of *text*, which their readers do not change."""
    return _compose_anew(text, Loader)


_compose_anew = yaml.compose


def share_compiled_code() -> None:
    """Let all applications of this process share what is compiled for them, and the nodes of each YAML text."""
    yaml.compose = _compose
    options: dict[str, Any] = {"bytecode_cache": _MemoryCache()}
    Flask.jinja_options = options
    Flask.url_rule_class = _CompiledRule
