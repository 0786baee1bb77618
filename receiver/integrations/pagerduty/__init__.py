"""PagerDuty: events, webhooks and the REST API."""
