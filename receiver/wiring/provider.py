"""The OpenID provider of the settings: apart, since it brings Authlib, which most do without."""

from __future__ import annotations

from collections.abc import Callable

from receiver.config.settings import Settings
from receiver.config.ways_in import CALLBACK
from receiver.lookups.provider import Provider, Registration


def build_provider(settings: Settings, clock: Callable[[], float]) -> Provider:
    """Return the provider, which is asked nothing yet."""
    ours = Registration(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret=settings.oidc_client_secret,
        scopes=settings.oidc_scopes,
        redirect_uri=settings.public_url + CALLBACK,
    )
    return Provider(ours, clock)
