"""The OpenID Connect client: discovery, the token request, and the validation of ID tokens.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet, OctKey
from joserfc.jwt import Token

from receiver.cache import Cache
from receiver.config.settings import CALLBACK, Settings
from receiver.errors import ProviderUnavailable, SignInDenied, TemporaryDeliveryError
from receiver.http_client import BaseUrl, as_object, as_objects, send_request
from receiver.http_connection import HttpResponse
from receiver.links import is_web_link

Claims = dict[str, Any]
# Algorithms for which only the provider has the key. Not `none`, which needs no key; not HS256 and the like,
# whose key would be our client secret or, by a well-known attack, the provider's public key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# Tolerated difference between the provider's clock and ours.
LEEWAY_S = 60
_MAX_KEYS = 100
TIMEOUT_S = 5.0
CACHED_FOR_S = 3600.0
# Minimum time between two reads. A token with an unknown key makes us read the keys again; the client that
# sends it must not control how often.
PAUSE_S = 10.0
_MAX_ANSWER = 256 * 1024
_ERROR = re.compile(r"[a-z_]{1,40}", re.ASCII)
# Methods of client authentication: the first one that the provider supports, or the first if it names none.
_CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")


class UnknownKey(SignInDenied):
    """No known key verifies the signature; the provider may have rotated its keys."""


def _decode_token(text: str, keys: KeySet) -> Token:
    """Return the signed token; raises SignInDenied, or UnknownKey where newer keys may help."""
    try:
        return jwt.decode(text, keys, algorithms=ALGORITHMS)
    except (BadSignatureError, InvalidKeyIdError):
        raise UnknownKey("the ID token is signed with a key that the provider doesn't name") from None
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SignInDenied("the ID token can't be read, or is not signed as it should be") from None


def _parse_keys(body: Mapping[str, Any]) -> list[Key]:
    """Return the provider's public signing keys, without those that we can't use."""
    keys = []
    for row in as_objects(body.get("keys"))[:_MAX_KEYS]:
        if row.get("kty") == OctKey.key_type or row.get("use", "sig") != "sig":
            continue
        with suppress(JoseError, ValueError, TypeError, KeyError, AttributeError):
            key = JWKRegistry.import_key(row)
            key.ensure_kid()
            keys.append(key)
    return keys


@dataclass(frozen=True)
class LoginAttempt:
    """A login attempt: its `state`, the ID token's `nonce`, the PKCE verifier of the code, and the path to
    redirect to after it.
    """

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    path: str


@dataclass(frozen=True)
class ProviderMetadata:
    """The provider's endpoints and its method of client authentication."""

    issuer: str
    client_auth_method: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""


class OidcClient:
    """Talks to the configured provider. All methods raise ProviderUnavailable where it can't be reached."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._redirect_uri = settings.public_url + CALLBACK
        self._metadata = Cache(
            "OIDC metadata", self._fetch_metadata, clock, ttl_s=CACHED_FOR_S, retry_s=PAUSE_S
        )
        self._keys = Cache("OIDC keys", self._fetch_keys, clock, ttl_s=CACHED_FOR_S, retry_s=PAUSE_S)

    def authorization_url(self, attempt: LoginAttempt) -> str:
        """Return the URL at which the user signs in."""
        address: str = prepare_grant_uri(
            self._metadata.get_value().authorization_endpoint,
            client_id=self._settings.oidc_client_id,
            response_type="code",
            redirect_uri=self._redirect_uri,
            scope=self._settings.oidc_scopes,
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return address

    def fetch_claims(self, attempt: LoginAttempt, code: str) -> Claims:
        """Exchange *code* and return the user's claims; raises SignInDenied for an invalid code or token."""
        metadata = self._metadata.get_value()
        tokens = self._exchange_code(metadata, attempt, code)
        access_token, id_token = tokens.get("access_token"), tokens.get("id_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str):
            raise ProviderUnavailable("it gave no ID token")
        claims = self._verify_id_token(metadata, id_token, access_token, attempt.nonce)
        if not metadata.userinfo_endpoint:
            return claims
        response = _send_request("GET", metadata.userinfo_endpoint, f"Bearer {access_token}")
        userinfo = _read_object(response, "what it tells of people")
        if userinfo.get("sub") != claims["sub"]:
            raise SignInDenied("the provider tells of somebody else than its ID token")
        return {**userinfo, **claims}  # signed claims take precedence

    def check_provider(self) -> str:
        """Return the provider's issuer, after reading its configuration and its keys."""
        self._keys.get_value()
        return self._metadata.get_value().issuer

    def _exchange_code(self, metadata: ProviderMetadata, attempt: LoginAttempt, code: str) -> dict[str, Any]:
        """Return the response of the token endpoint for *code*."""
        fields = {"code": code, "redirect_uri": self._redirect_uri, "code_verifier": attempt.verifier}
        body = prepare_token_request("authorization_code", **fields)
        client_id, secret = self._settings.oidc_client_id, self._settings.oidc_client_secret.reveal()
        client_auth = ClientAuth(client_id, secret, metadata.client_auth_method)
        _, headers, form = client_auth.prepare("POST", metadata.token_endpoint, {}, body)
        response = _send_request("POST", metadata.token_endpoint, headers.get("Authorization", ""), form)
        if 400 <= response.status < 500:
            error = clean_error(as_object(response.parse_json()).get("error"))
            if response.status == 401 or error in ("invalid_client", "unauthorized_client"):
                raise ProviderUnavailable("it doesn't know us by OIDC_CLIENT_ID and OIDC_CLIENT_SECRET")
            raise SignInDenied(f"the provider refuses the code: {error or response.status}")
        return _read_object(response, "its tokens")

    def _verify_id_token(
        self, metadata: ProviderMetadata, id_token: str, access_token: str, nonce: str
    ) -> Claims:
        """Return the token's claims; raises SignInDenied."""
        now, client_id = self._clock(), self._settings.oidc_client_id
        try:
            token = _decode_token(id_token, self._keys.get_value())
        except UnknownKey:
            token = _decode_token(id_token, self._keys.get_value(since=now - PAUSE_S))
        options = {
            "iss": {"essential": True, "value": metadata.issuer},
            "aud": {"essential": True, "value": client_id},
            "sub": {"essential": True, "allow_blank": False},
        }
        params = {"nonce": nonce, "client_id": client_id, "access_token": access_token}
        claims = CodeIDToken(token.claims, token.header, options, params)
        try:
            claims.validate(now=int(now), leeway=LEEWAY_S)
        except ClaimError as error:
            raise SignInDenied(f"the ID token is not for this sign-in: its {error.claim} is wrong") from None
        except (JoseError, ValueError, TypeError, AttributeError, OverflowError):
            raise SignInDenied("the ID token holds what it should not") from None
        return dict(claims)

    def _fetch_metadata(self, _key: str) -> ProviderMetadata:
        """Read the provider's configuration: https://openid.net/specs/openid-connect-discovery-1_0.html."""
        response = _send_request("GET", f"{self._settings.oidc_issuer}/.well-known/openid-configuration")
        found = _read_object(response, "its configuration")
        issuer = found.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._settings.oidc_issuer:
            raise ProviderUnavailable("it calls itself otherwise than OIDC_ISSUER")
        supported = found.get("token_endpoint_auth_methods_supported")
        known = supported if isinstance(supported, list) else []
        auth_method = next((one for one in _CLIENT_AUTH_METHODS if one in known), _CLIENT_AUTH_METHODS[0])
        optional = ["userinfo_endpoint"] if found.get("userinfo_endpoint") else []
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri", *optional)
        endpoints = {name: self._get_endpoint(found, name) for name in names}
        return ProviderMetadata(issuer, client_auth_method=auth_method, **endpoints)

    def _get_endpoint(self, found: dict[str, Any], name: str) -> str:
        address = found.get(name)
        # Where the issuer uses HTTPS, its endpoints must, too.
        is_plain_allowed = urlsplit(self._settings.oidc_issuer).scheme != "https"
        is_usable = isinstance(address, str) and is_web_link(address)
        if not is_usable or not (is_plain_allowed or urlsplit(str(address)).scheme == "https"):
            raise ProviderUnavailable(f"its configuration has no usable {name}")
        return str(address)

    def _fetch_keys(self, _key: str) -> KeySet:
        response = _send_request("GET", self._metadata.get_value().jwks_uri)
        keys = _parse_keys(_read_object(response, "its keys"))
        if not keys:
            raise ProviderUnavailable("it names no key that we can use")
        return KeySet(keys)


def _send_request(method: str, url: str, authorization: str = "", form: str = "") -> HttpResponse:
    address = BaseUrl(url, authorization)
    try:
        return send_request(method, address, "", form=form, timeout_s=TIMEOUT_S, max_bytes=_MAX_ANSWER)
    except TemporaryDeliveryError as error:
        raise ProviderUnavailable(error.detail) from None


def _read_object(response: HttpResponse, what: str) -> dict[str, Any]:
    if not response.is_ok:
        raise ProviderUnavailable(f"it answers with status {response.status} instead of {what}")
    found = response.parse_json()
    if not isinstance(found, dict):
        raise ProviderUnavailable(f"{what} can't be read")
    return found


def clean_error(error: object) -> str:
    """Return an OAuth error code; empty where it has not the standard form."""
    return error if isinstance(error, str) and _ERROR.fullmatch(error) else ""
