"""The OpenID Connect client: discovery, the token request, and the validation of ID tokens.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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

from receiver.cache import Cache
from receiver.config.settings import CALLBACK, Settings
from receiver.errors import ProviderUnavailable, SignInDenied, TemporaryDeliveryError
from receiver.http_client import BaseUrl, HttpResponse, send_request
from receiver.text import Secret, is_web_link

Claims = dict[str, Any]
# Algorithms for which only the provider has the key. Not `none`, which needs no key; not HS256 and the like,
# whose key would be our client secret or, by a well-known attack, the provider's public key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# Tolerated difference between the provider's clock and ours.
LEEWAY_S = 60
_MAX_KEYS = 100


class UnknownKey(SignInDenied):
    """No known key verifies the signature; the provider may have rotated its keys."""


@dataclass(frozen=True)
class ExpectedClaims:
    """The values that the ID token must contain."""

    issuer: str
    client_id: str
    nonce: str


def parse_keys(body: Any) -> KeySet:
    """Return the provider's public signing keys, without those that we can't use.

    Raises ValueError where none is left.
    """
    rows = body.get("keys") if isinstance(body, dict) else None
    found = [_parse_key(row) for row in (rows if isinstance(rows, list) else [])[:_MAX_KEYS]]
    keys = [key for key in found if key is not None]
    if not keys:
        raise ValueError("no key for signatures")
    return KeySet(keys)


def verify_id_token(
    text: str, keys: KeySet, expected: ExpectedClaims, access_token: str, now: float
) -> Claims:
    """Return the token's claims; raises SignInDenied, or UnknownKey where newer keys may help."""
    try:
        token = jwt.decode(text, keys, algorithms=ALGORITHMS)
    except (BadSignatureError, InvalidKeyIdError):
        raise UnknownKey("the ID token is signed with a key that the provider doesn't name") from None
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SignInDenied("the ID token can't be read, or is not signed as it should be") from None
    options = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True, "allow_blank": False},
    }
    params = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": access_token}
    claims = CodeIDToken(token.claims, token.header, options, params)
    try:
        claims.validate(now=int(now), leeway=LEEWAY_S)
    except ClaimError as error:
        raise SignInDenied(f"the ID token is not for this sign-in: its {error.claim} is wrong") from None
    except (JoseError, ValueError, TypeError, AttributeError, OverflowError):
        raise SignInDenied("the ID token holds what it should not") from None
    return dict(claims)


def _parse_key(row: Any) -> Key | None:
    is_public = isinstance(row, dict) and row.get("kty") != OctKey.key_type
    if not is_public or row.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(row)
        key.ensure_kid()
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return key


TIMEOUT_S = 5.0
CACHED_FOR_S = 3600.0
# Minimum time between two reads. A token with an unknown key makes us read the keys again; the client that
# sends it must not control how often.
PAUSE_S = 10.0
_MAX_ANSWER = 256 * 1024
_ERROR = re.compile(r"[a-z_]{1,40}", re.ASCII)
# Methods of client authentication: the first one that the provider supports, or the first if it names none.
_CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True)
class ClientRegistration:
    """Our registration at the provider."""

    issuer: str
    client_id: str
    secret: Secret
    scopes: str
    redirect_uri: str


@dataclass(frozen=True)
class SignIn:
    """The secrets of a login attempt: `state`, the ID token's `nonce`, the PKCE verifier of the code."""

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True)
class ProviderMetadata:
    """The provider's endpoints and its method of client authentication."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    client_auth_method: str


class OidcClient:
    """Talks to one provider. All methods raise ProviderUnavailable where it can't be reached."""

    def __init__(self, registration: ClientRegistration, clock: Callable[[], float]) -> None:
        self._registration = registration
        self._clock = clock
        self._metadata = Cache(
            "OIDC metadata", lambda _: self._fetch_metadata(), clock, ttl_s=CACHED_FOR_S, retry_s=PAUSE_S
        )
        self._keys = Cache(
            "OIDC keys", lambda _: self._fetch_keys(), clock, ttl_s=CACHED_FOR_S, retry_s=PAUSE_S
        )

    def authorization_url(self, sign_in: SignIn) -> str:
        """Return the URL at which the user signs in."""
        challenge = create_s256_code_challenge(sign_in.verifier)
        address: str = prepare_grant_uri(
            self._metadata.get_value().authorization_endpoint,
            client_id=self._registration.client_id,
            response_type="code",
            redirect_uri=self._registration.redirect_uri,
            scope=self._registration.scopes,
            state=sign_in.state,
            nonce=sign_in.nonce,
            code_challenge=challenge,
            code_challenge_method="S256",
        )
        return address

    def fetch_claims(self, sign_in: SignIn, code: str) -> Claims:
        """Exchange *code* and return the user's claims; raises SignInDenied for an invalid code or token."""
        metadata = self._metadata.get_value()
        response = self._exchange_code(metadata, sign_in, code)
        access_token, id_token = response.get("access_token"), response.get("id_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str):
            raise ProviderUnavailable("it gave no ID token")
        claims = self._verify_id_token(metadata, id_token, access_token, sign_in.nonce)
        if not metadata.userinfo_endpoint:
            return claims
        userinfo = _read_object(
            _fetch(metadata.userinfo_endpoint, f"Bearer {access_token}"), "what it tells of people"
        )
        if userinfo.get("sub") != claims["sub"]:
            raise SignInDenied("the provider tells of somebody else than its ID token")
        return {**userinfo, **claims}  # signed claims take precedence

    def check(self) -> str:
        """Return the provider's issuer, after reading its configuration and its keys."""
        self._keys.get_value()
        return self._metadata.get_value().issuer

    def _exchange_code(self, metadata: ProviderMetadata, sign_in: SignIn, code: str) -> dict[str, Any]:
        """Return the response of the token endpoint for *code*."""
        body = prepare_token_request(
            "authorization_code",
            code=code,
            redirect_uri=self._registration.redirect_uri,
            code_verifier=sign_in.verifier,
        )
        client_auth = ClientAuth(
            self._registration.client_id, self._registration.secret.reveal(), metadata.client_auth_method
        )
        _, headers, form = client_auth.prepare("POST", metadata.token_endpoint, {}, body)
        response = _request("POST", metadata.token_endpoint, headers.get("Authorization", ""), form)
        if 400 <= response.status < 500:
            error = _find_error(response)
            if response.status == 401 or error in ("invalid_client", "unauthorized_client"):
                raise ProviderUnavailable("it doesn't know us by OIDC_CLIENT_ID and OIDC_CLIENT_SECRET")
            raise SignInDenied(f"the provider refuses the code: {error or response.status}")
        return _read_object(response, "its tokens")

    def _verify_id_token(
        self, metadata: ProviderMetadata, id_token: str, access_token: str, nonce: str
    ) -> Claims:
        expected, now = ExpectedClaims(metadata.issuer, self._registration.client_id, nonce), self._clock()
        try:
            return verify_id_token(id_token, self._keys.get_value(), expected, access_token, now)
        except UnknownKey:
            newer = self._keys.get_value(since=now - PAUSE_S)
            return verify_id_token(id_token, newer, expected, access_token, now)

    def _fetch_metadata(self) -> ProviderMetadata:
        """Read the provider's configuration: https://openid.net/specs/openid-connect-discovery-1_0.html."""
        found = _read_object(
            _fetch(f"{self._registration.issuer}/.well-known/openid-configuration"), "its configuration"
        )
        issuer = found.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._registration.issuer:
            raise ProviderUnavailable("it calls itself otherwise than OIDC_ISSUER")
        supported = found.get("token_endpoint_auth_methods_supported")
        auth_methods = (
            [method for method in _CLIENT_AUTH_METHODS if method in supported]
            if isinstance(supported, list)
            else []
        )
        return ProviderMetadata(
            issuer,
            authorization_endpoint=self._get_endpoint(found, "authorization_endpoint"),
            token_endpoint=self._get_endpoint(found, "token_endpoint"),
            jwks_uri=self._get_endpoint(found, "jwks_uri"),
            userinfo_endpoint=self._get_endpoint(found, "userinfo_endpoint")
            if found.get("userinfo_endpoint")
            else "",
            client_auth_method=(auth_methods or _CLIENT_AUTH_METHODS)[0],
        )

    def _get_endpoint(self, found: dict[str, Any], name: str) -> str:
        address = found.get(name)
        is_usable = isinstance(address, str) and is_web_link(address)
        # Where the issuer uses HTTPS, its endpoints must, too.
        if (
            not is_usable
            or urlsplit(self._registration.issuer).scheme == "https" != urlsplit(str(address)).scheme
        ):
            raise ProviderUnavailable(f"its configuration has no usable {name}")
        return str(address)

    def _fetch_keys(self) -> Any:
        found = _read_object(_fetch(self._metadata.get_value().jwks_uri), "its keys")
        try:
            return parse_keys(found)
        except ValueError:
            raise ProviderUnavailable("it names no key that we can use") from None


def _fetch(url: str, authorization: str = "") -> HttpResponse:
    return _request("GET", url, authorization)


def _request(method: str, url: str, authorization: str = "", form: str = "") -> HttpResponse:
    try:
        address = BaseUrl(url, authorization)
        return send_request(method, address, "", form=form, timeout_s=TIMEOUT_S, max_bytes=_MAX_ANSWER)
    except TemporaryDeliveryError as error:
        raise ProviderUnavailable(error.detail) from None


def _read_object(response: HttpResponse, what: str) -> dict[str, Any]:
    if not response.is_ok:
        raise ProviderUnavailable(f"it answers with status {response.status} instead of {what}")
    found = _parse_json(response)
    if not isinstance(found, dict):
        raise ProviderUnavailable(f"{what} can't be read")
    return found


def _find_error(response: HttpResponse) -> str:
    """Return the OAuth error code of the response; empty where it has none of the standard form."""
    found = _parse_json(response)
    error = str(found.get("error", "")) if isinstance(found, dict) else ""
    return error if _ERROR.fullmatch(error) else ""


def _parse_json(response: HttpResponse) -> Any:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def build_oidc_client(settings: Settings, clock: Callable[[], float]) -> OidcClient:
    """Return the client of the configured provider; sends no request yet."""
    registration = ClientRegistration(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret=settings.oidc_client_secret,
        scopes=settings.oidc_scopes,
        redirect_uri=settings.public_url + CALLBACK,
    )
    return OidcClient(registration, clock)
