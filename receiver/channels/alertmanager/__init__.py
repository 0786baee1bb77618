"""Alertmanager as somebody to be told: silences made, prolonged and ended.

What it is asked (does it still fire, who silenced it) belongs in `lookups`.
"""
