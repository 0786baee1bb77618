"""Alertmanager: webhook, API client, silences and status check."""
