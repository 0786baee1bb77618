"""The OpenID provider of the settings: apart, since it brings Authlib, which most do without."""

from __future__ import annotations

from collections.abc import Callable

from receiver.config.settings import CALLBACK, Settings
from receiver.lookups.provider import ClientRegistration, OidcClient


def build_oidc_client(settings: Settings, clock: Callable[[], float]) -> OidcClient:
    """Return the provider, which is asked nothing yet."""
    registration = ClientRegistration(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret=settings.oidc_client_secret,
        scopes=settings.oidc_scopes,
        redirect_uri=settings.public_url + CALLBACK,
    )
    return OidcClient(registration, clock)
