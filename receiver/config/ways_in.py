"""Whether the settings of who is let in fit each other; half of a lock is none."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from receiver.config.settings import Settings

SettingsFault = tuple[str, str]

# Where a provider sends people back to, behind PUBLIC_URL; that has to be registered there.
CALLBACK = "/sign-in/callback"
# A cookie holds those of a visitor's names and groups that are listed, and it has to fit a browser's 4 KiB.
MAX_NAME = 100


def find_auth_faults(settings: Settings) -> Iterator[SettingsFault]:
    """Yield what is wrong and what was expected."""
    yield from _find_proxy_faults(settings)
    yield from _find_provider_faults(settings)
    yield from _find_role_faults(settings)


def list_auth_methods(settings: Settings) -> list[str]:
    """Return how people and programs get in to API and page, one way an entry; none where all may."""
    methods = ["RECEIVER_API_TOKEN"] if settings.api_tokens else []
    methods += ["RECEIVER_VIEWER_TOKEN (reads)"] if settings.viewer_tokens else []
    if settings.trusted_proxies:
        proxies = ", ".join(str(proxy) for proxy in settings.trusted_proxies)
        methods.append(f"{settings.user_header} from {proxies}")
    if settings.oidc_issuer:
        methods.append(f"signing in with {settings.oidc_issuer}")
    return methods


def _find_proxy_faults(settings: Settings) -> Iterator[SettingsFault]:
    if settings.trusted_proxies and not settings.user_header:
        yield "RECEIVER_TRUSTED_PROXY is set without RECEIVER_USER_HEADER", "both"
    if (settings.user_header or settings.groups_header) and not settings.trusted_proxies:
        yield "a header is to name people, and RECEIVER_TRUSTED_PROXY is unset", "who may send it"
    if settings.groups_header and settings.groups_header.lower() == settings.user_header.lower():
        yield "RECEIVER_GROUPS_HEADER is RECEIVER_USER_HEADER", "another header"


def _find_provider_faults(settings: Settings) -> Iterator[SettingsFault]:
    needed = {
        "OIDC_ISSUER": settings.oidc_issuer,
        "OIDC_CLIENT_ID": settings.oidc_client_id,
        "OIDC_CLIENT_SECRET": settings.oidc_client_secret,
    }
    if not any(needed.values()):
        return
    for name in (name for name, value in needed.items() if not value):
        yield f"{name} is unset and signing in needs it", "all of " + ", ".join(needed)
    if not settings.public_url:
        yield "PUBLIC_URL is unset and signing in leads back to it", "our own address as browsers reach it"
    if not (settings.oidc_client_secret.reveal() + settings.oidc_client_id).isascii():
        yield "OIDC_CLIENT_ID or OIDC_CLIENT_SECRET holds other letters than ASCII", "those of the provider"
    if "openid" not in settings.oidc_scopes.split():
        yield "OIDC_SCOPES is without openid", "scopes with blanks between, openid among them"
    parts = urlsplit(settings.oidc_issuer)
    if "@" in parts.netloc:
        yield "OIDC_ISSUER holds a login", "an address without one"
    elif settings.oidc_issuer and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        # Its keys come from there: whoever could change them on the way could sign in as anybody.
        yield "OIDC_ISSUER is not https", "https://…, or http:// on this machine"


def _find_role_faults(settings: Settings) -> Iterator[SettingsFault]:
    if set(settings.viewer_tokens) & set(settings.api_tokens):
        yield "RECEIVER_VIEWER_TOKEN and RECEIVER_API_TOKEN share a token", "others for those who only read"
    if settings.viewer_tokens and not (settings.api_tokens or settings.has_identity_source):
        yield "RECEIVER_VIEWER_TOKEN is set, and nobody could answer", "RECEIVER_API_TOKEN, too"
    if (settings.responders or settings.viewers) and not settings.has_identity_source:
        yield (
            "RECEIVER_RESPONDERS or RECEIVER_VIEWERS is set, and nobody comes by name",
            "OIDC_ISSUER or RECEIVER_TRUSTED_PROXY, too",
        )
    elif settings.viewers and not settings.responders:
        # Everybody would be a responder, and the list of viewers would keep nobody out.
        yield "RECEIVER_VIEWERS is set without RECEIVER_RESPONDERS", "both"
    if any(len(name) > MAX_NAME for name in (*settings.responders, *settings.viewers)):
        yield (
            f"RECEIVER_RESPONDERS or RECEIVER_VIEWERS holds a name of more than {MAX_NAME} characters",
            "shorter ones",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
