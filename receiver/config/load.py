"""The environment → Settings."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.config.mistakes import APP_TOKEN, BOT_TOKEN
from receiver.config.settings import Settings
from receiver.config.variables import EnvReader
from receiver.config.ways_in import find_auth_faults
from receiver.errors import ConfigError

# A worker listens on one all the time, and needs another for everything else.
_CONNECTIONS = range(2, 1001)
_MEBIBYTES = range(32, 1024 * 1024 + 1)
_PEOPLE = "names, e-mail addresses and group:NAME, separated by commas"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in *environ*; raises ConfigError with every variable that is wrong."""
    reader = EnvReader(environ)
    settings = Settings(
        redis_url=reader.read_store_url("REDIS_URL"),
        redis_max_connections=reader.read_count(
            "REDIS_MAX_CONNECTIONS", Settings.redis_max_connections, _CONNECTIONS
        ),
        embedded_max_memory=reader.read_count(
            "RECEIVER_EMBEDDED_MAX_MEMORY", Settings.embedded_max_memory, _MEBIBYTES
        ),
        slack_bot_token=reader.read_slack_token("SLACK_BOT_TOKEN", BOT_TOKEN),
        slack_signing_secret=reader.read_slack_token("SLACK_SIGNING_SECRET"),
        slack_app_token=reader.read_slack_token("SLACK_APP_TOKEN", APP_TOKEN),
        pagerduty_api_token=reader.read_slack_token("PAGERDUTY_API_TOKEN"),
        pagerduty_webhook_secret=reader.read_slack_token("PAGERDUTY_WEBHOOK_SECRET"),
        webhook_tokens=reader.read_secrets("RECEIVER_WEBHOOK_TOKEN"),
        api_tokens=reader.read_secrets("RECEIVER_API_TOKEN"),
        viewer_tokens=reader.read_secrets("RECEIVER_VIEWER_TOKEN"),
        trusted_proxies=reader.read_networks("RECEIVER_TRUSTED_PROXY"),
        user_header=reader.read_header("RECEIVER_USER_HEADER"),
        groups_header=reader.read_header("RECEIVER_GROUPS_HEADER"),
        oidc_issuer=reader.read_url("OIDC_ISSUER"),
        oidc_client_id=reader.read_text("OIDC_CLIENT_ID"),
        oidc_client_secret=reader.read_secret("OIDC_CLIENT_SECRET"),
        oidc_scopes=reader.read_text("OIDC_SCOPES", Settings.oidc_scopes),
        oidc_groups_claim=reader.read_text("OIDC_GROUPS_CLAIM", Settings.oidc_groups_claim),
        responders=reader.read_words("RECEIVER_RESPONDERS", _PEOPLE),
        viewers=reader.read_words("RECEIVER_VIEWERS", _PEOPLE),
        public_url=reader.read_url("PUBLIC_URL"),
        allowed_hosts=reader.read_hosts("RECEIVER_ALLOWED_HOSTS"),
        slack_api_url=reader.read_url("SLACK_API_URL", Settings.slack_api_url) + "/",
        pagerduty_events_url=reader.read_url("PAGERDUTY_EVENTS_URL", Settings.pagerduty_events_url),
        pagerduty_api_url=reader.read_url("PAGERDUTY_API_URL", Settings.pagerduty_api_url),
        alertmanager_url=reader.read_url("ALERTMANAGER_URL"),
        prometheus_url=reader.read_url("PROMETHEUS_URL"),
    )
    for what, expected in find_auth_faults(settings):
        reader.error(what, expected)
    if reader.problems:
        raise ConfigError(reader.problems)
    return settings
