"""Alertmanager: its webhook, its API and the check of what it still shows."""
