"""Runbooks: parsed from Markdown, found by alert, excerpted and rendered."""
