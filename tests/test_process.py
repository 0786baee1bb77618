"""Processes: what they do while they import modules."""

from __future__ import annotations

import gc
import importlib

import pytest

from receiver.process import pause_gc


def test_garbage_collections_go_on_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), pause_gc():
        importlib.import_module("receiver.no_such_module")
    assert gc.isenabled()


def test_an_import_is_not_interrupted_by_garbage_collections() -> None:
    with pause_gc():
        assert not gc.isenabled()
    assert gc.isenabled()
