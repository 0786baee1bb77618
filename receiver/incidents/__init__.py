"""Incidents: ingestion, transitions, reconciliation and their store."""
