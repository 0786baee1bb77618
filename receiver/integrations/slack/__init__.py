"""Slack: messages, interactions, commands and Socket Mode."""
