"""Slack: an incident's message, its edits and the replies in its thread.

The only folder that sends with slack_sdk. What is said is worded in pure files (`render`
and what it is made of); `adapter` sends it, once for each call, and never sleeps. What
people answer by buttons and commands comes in elsewhere, through `sources`.
"""
