"""The environment as settings: defaults, one form for every URL, and no visible secret."""

from __future__ import annotations

import pytest

from receiver.config.settings import Settings, load_settings
from receiver.errors import ConfigError
from receiver.text import Secret

SECRETS = [
    "REDIS_URL",
    "SLACK_BOT_TOKEN",
    "SLACK_SIGNING_SECRET",
    "SLACK_APP_TOKEN",
    "PAGERDUTY_API_TOKEN",
    "PAGERDUTY_WEBHOOK_SECRET",
]


def test_an_empty_environment_has_defaults_for_everything() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.slack_api_url == "https://slack.com/api/"
    assert settings.pagerduty_events_url == "https://events.pagerduty.com"
    assert settings.pagerduty_api_url == "https://api.pagerduty.com"
    assert not settings.redis_url
    assert settings.webhook_tokens == ()


@pytest.mark.parametrize("name", [*SECRETS, "PUBLIC_URL", "SLACK_API_URL", "RECEIVER_API_TOKEN"])
def test_an_empty_variable_counts_as_unset(name: str) -> None:
    assert load_settings({name: "  "}) == Settings()


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_loaded_without_its_line_end(name: str) -> None:
    value = "redis://:pw@host/0" if name == "REDIS_URL" else "t0ken"
    assert getattr(load_settings({name: f"{value}\n"}), name.lower()).reveal() == value


@pytest.mark.parametrize(("text", "read"), [("", 10), ("2", 2), (" 64 ", 64), ("1000", 1000)])
def test_the_size_of_the_connection_pool_is_parsed(text: str, read: int) -> None:
    assert load_settings({"REDIS_MAX_CONNECTIONS": text}).redis_max_connections == read


@pytest.mark.parametrize("text", ["1", "0", "-3", "1001", "10.5", "ten", "1e2", "٣", "9" * 40])
def test_an_invalid_size_of_the_connection_pool_is_a_fault(text: str) -> None:
    with pytest.raises(ConfigError, match="a whole number from 2 to 1000"):
        load_settings({"REDIS_MAX_CONNECTIONS": text})


def test_several_tokens_are_separated_by_commas() -> None:
    settings = load_settings({"RECEIVER_WEBHOOK_TOKEN": "old, new,,old", "RECEIVER_API_TOKEN": "one"})
    assert settings.webhook_tokens == (Secret("old"), Secret("new"))
    assert settings.api_tokens == (Secret("one"),)


def test_a_token_of_only_commas_is_no_token() -> None:
    with pytest.raises(ConfigError, match="RECEIVER_API_TOKEN holds no token"):
        load_settings({"RECEIVER_API_TOKEN": ","})


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("SLACK_API_URL", "http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api/"),
        ("SLACK_API_URL", "http://127.0.0.1:8080/api/", "http://127.0.0.1:8080/api/"),
        ("PAGERDUTY_EVENTS_URL", "http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("PAGERDUTY_API_URL", "http://[::1]:1", "http://[::1]:1"),
        ("PUBLIC_URL", "https://alerts.example.org/receiver/", "https://alerts.example.org/receiver"),
        ("ALERTMANAGER_URL", "http://user:pw@am:9093//", "http://user:pw@am:9093"),
        ("PROMETHEUS_URL", "http://prometheus", "http://prometheus"),
    ],
)
def test_urls_are_normalized(name: str, value: str, read: str) -> None:
    assert getattr(load_settings({name: value}), name.lower()) == read


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "rediss://:pw@host",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://a:26379,b:26379/main",
        "redis+cluster://a:6379,b:6379",
    ],
)
def test_redis_url_has_five_schemes(url: str) -> None:
    assert load_settings({"REDIS_URL": url}).redis_url.reveal() == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "unix://"),
        ("REDIS_URL", "redis://[half"),
        ("PUBLIC_URL", "alerts.example.org"),
        ("PUBLIC_URL", "ftp://alerts.example.org"),
        ("PUBLIC_URL", "https://"),
        ("SLACK_API_URL", "http://host:99999"),
        ("ALERTMANAGER_URL", "http://am/?x=1"),
        ("PROMETHEUS_URL", "http://[half"),
        ("SLACK_BOT_TOKEN", "xoxb one"),
    ],
)
def test_an_invalid_variable_is_named_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"environment:1: {name} ")
    assert problem.expected
    assert value not in problem.what


def test_all_invalid_variables_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"REDIS_URL": "x", "PUBLIC_URL": "y", "RECEIVER_API_TOKEN": ","})
    assert len(caught.value.problems) == 3


SIGN_IN = {
    "OIDC_ISSUER": "https://login.example/realm/",
    "OIDC_CLIENT_ID": "receiver",
    "OIDC_CLIENT_SECRET": "client-secret",
    "PUBLIC_URL": "https://ops.example",
}
PROXY = {"RECEIVER_TRUSTED_PROXY": "10.0.0.5", "RECEIVER_USER_HEADER": "Remote-User"}


def test_proxies_tokens_responders_and_viewers_are_parsed() -> None:
    settings = load_settings(
        {
            **SIGN_IN,
            **PROXY,
            "RECEIVER_TRUSTED_PROXY": "10.0.0.5, 10.1.0.0/16,::1, 10.0.0.5",
            "RECEIVER_VIEWER_TOKEN": "a,b",
            "RECEIVER_RESPONDERS": "alice, group:sre,,alice",
            "RECEIVER_VIEWERS": "bob@example.org",
        }
    )
    assert [str(network) for network in settings.trusted_proxies] == [
        "10.0.0.5/32",
        "10.1.0.0/16",
        "::1/128",
    ]
    assert settings.oidc_issuer == "https://login.example/realm"
    assert settings.oidc_scopes == "openid profile email"
    assert settings.oidc_groups_claim == "groups"
    assert settings.viewer_tokens == (Secret("a"), Secret("b"))
    assert settings.responders == ("alice", "group:sre")
    assert settings.viewers == ("bob@example.org",)


@pytest.mark.parametrize(
    ("environ", "is_required"),
    [
        ({}, False),
        ({"RECEIVER_WEBHOOK_TOKEN": "a"}, False),
        ({"RECEIVER_API_TOKEN": "a"}, True),
        (SIGN_IN, True),
        (PROXY, True),
    ],
)
def test_one_authentication_method_is_enough_for_auth_to_be_required(
    environ: dict[str, str], is_required: bool
) -> None:
    assert load_settings(environ).requires_auth == is_required


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({**SIGN_IN, "OIDC_ISSUER": ""}, "OIDC_ISSUER is unset"),
        ({**SIGN_IN, "OIDC_CLIENT_ID": ""}, "OIDC_CLIENT_ID is unset"),
        ({**SIGN_IN, "OIDC_CLIENT_SECRET": ""}, "OIDC_CLIENT_SECRET is unset"),
        ({**SIGN_IN, "PUBLIC_URL": ""}, "PUBLIC_URL is unset"),
        ({**SIGN_IN, "OIDC_ISSUER": "http://login.example"}, "OIDC_ISSUER is not https"),
        ({**SIGN_IN, "OIDC_ISSUER": "https://me:h1dden@login.example"}, "OIDC_ISSUER holds a login"),
        ({**SIGN_IN, "OIDC_ISSUER": "login.example"}, "OIDC_ISSUER is no usable address"),
        ({**SIGN_IN, "OIDC_SCOPES": "profile email"}, "OIDC_SCOPES is without openid"),
        ({**SIGN_IN, "OIDC_CLIENT_SECRET": "h1ddén"}, "other letters than ASCII"),
        ({"RECEIVER_TRUSTED_PROXY": "10.0.0.5"}, "without RECEIVER_USER_HEADER"),
        ({"RECEIVER_USER_HEADER": "Remote-User"}, "RECEIVER_TRUSTED_PROXY is unset"),
        ({"RECEIVER_GROUPS_HEADER": "Remote-Groups"}, "RECEIVER_TRUSTED_PROXY is unset"),
        ({**PROXY, "RECEIVER_TRUSTED_PROXY": "proxy.example"}, "no address and no network"),
        ({**PROXY, "RECEIVER_TRUSTED_PROXY": "10.0.0.5/8"}, "no address and no network"),
        ({**PROXY, "RECEIVER_TRUSTED_PROXY": "0.0.0.0/0"}, "trusts every address"),
        ({**PROXY, "RECEIVER_TRUSTED_PROXY": "::/0"}, "trusts every address"),
        ({**PROXY, "RECEIVER_TRUSTED_PROXY": ","}, "holds no name"),
        ({**PROXY, "RECEIVER_USER_HEADER": "Remote_User"}, "no header with a user's name"),
        ({**PROXY, "RECEIVER_USER_HEADER": "Remote-User:"}, "no header with a user's name"),
        ({**PROXY, "RECEIVER_USER_HEADER": "Cookie"}, "no header with a user's name"),
        ({**PROXY, "RECEIVER_GROUPS_HEADER": "remote-user"}, "is RECEIVER_USER_HEADER"),
        ({"RECEIVER_VIEWER_TOKEN": "h1dden"}, "no client may respond"),
        ({"RECEIVER_VIEWER_TOKEN": "h1dden", "RECEIVER_API_TOKEN": "a,h1dden"}, "share a token"),
        ({"RECEIVER_RESPONDERS": "alice"}, "no user signs in"),
        ({**PROXY, "RECEIVER_RESPONDERS": ", ,"}, "holds no name"),
        ({**PROXY, "RECEIVER_VIEWERS": "bob"}, "without RECEIVER_RESPONDERS"),
        ({**PROXY, "RECEIVER_RESPONDERS": "a" * 101}, "more than 100 characters"),
    ],
)
def test_an_incomplete_authentication_method_is_a_fault(environ: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert fault in str(caught.value)
    assert all(problem.expected for problem in caught.value.problems)
    assert "h1dd" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({**PROXY, "RECEIVER_TRUSTED_PROXY": "0.0.0.0/0"}, 1),
        ({**PROXY, "RECEIVER_USER_HEADER": "Cookie"}, 1),
        ({**SIGN_IN, "OIDC_CLIENT_SECRET": '"quoted"'}, 1),
        ({"OIDC_ISSUER": "login.example"}, 4),  # it is unusable, and the other three are unset
    ],
)
def test_an_unusable_variable_does_not_count_as_unset(environ: dict[str, str], count: int) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert len(caught.value.problems) == count


def test_providers_on_loopback_need_no_tls() -> None:
    for host in ("127.0.0.1:8080", "[::1]:8080", "localhost"):
        load_settings({**SIGN_IN, "OIDC_ISSUER": f"http://{host}"})


def test_settings_print_no_secret() -> None:
    environ = dict.fromkeys(SECRETS[1:], "hush") | {
        "REDIS_URL": "redis://:hush@host",
        "RECEIVER_WEBHOOK_TOKEN": "hush",
        "RECEIVER_API_TOKEN": "hush,hush2",
        "RECEIVER_VIEWER_TOKEN": "hush3",
        **SIGN_IN,
        "OIDC_CLIENT_SECRET": "hush",
        "ALERTMANAGER_URL": "http://me:hush@am",
        "PROMETHEUS_URL": "http://me:hush@prometheus",
    }
    assert "hush" not in repr(load_settings(environ))
