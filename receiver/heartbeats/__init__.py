"""Heartbeats: alerts that must keep coming, and what happens when they stop."""
