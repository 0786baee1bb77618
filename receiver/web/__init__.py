"""The web process: webhooks, API and pages."""
