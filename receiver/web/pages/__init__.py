"""The pages for people, rendered here; each reads and answers without scripts, and is livelier with them."""

from __future__ import annotations

from receiver.web.pages.build import build_pages

__all__ = ["build_pages"]
