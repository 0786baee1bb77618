"""PagerDuty: pages, acknowledges and resolves by the Events API v2.

What is asked of PagerDuty (who is on call) or told by it (its webhooks) belongs elsewhere.
"""
