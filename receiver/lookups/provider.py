"""Our OpenID provider: where it sends people to sign in, and who they are when they come back.

Asked at most for five seconds each time; where it is and its keys are kept for an hour.
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

from receiver.errors import ProviderAway, SignInRefused, TemporaryDeliveryError
from receiver.lookups.exchange import Address, Answer, exchange
from receiver.lookups.id_token import Claims, Expected, UnknownKey, parse_keys, read_id_token
from receiver.lookups.kept import Kept
from receiver.text import Secret, is_web_link

TIMEOUT_S = 5.0
KEPT_FOR_S = 3600.0
# An unknown key has the keys read again; whoever brings it must not choose how often.
PAUSE_S = 10.0
_MAX_ANSWER = 256 * 1024
_ERROR = re.compile(r"[a-z_]{1,40}", re.ASCII)
# How we prove who we are: by the first that the provider takes; where it says nothing, by the first.
_PROOFS = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True)
class Registration:
    """As what the provider knows us."""

    issuer: str
    client_id: str
    secret: Secret
    scopes: str
    redirect_uri: str


@dataclass(frozen=True)
class SignIn:
    """One try to sign in: what comes back with it, what its ID token must hold, what its code needs."""

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True)
class Whereabouts:
    """What the provider tells of itself."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str
    proof: str


class Provider:
    """Asks one provider. Everything here raises ProviderAway where it can't be asked."""

    def __init__(self, registration: Registration, clock: Callable[[], float]) -> None:
        self._ours = registration
        self._clock = clock
        self._whereabouts = Kept(self._find, clock, for_s=KEPT_FOR_S, pause_s=PAUSE_S)
        self._keys = Kept(self._read_keys, clock, for_s=KEPT_FOR_S, pause_s=PAUSE_S)

    def begin(self, sign_in: SignIn) -> str:
        """Return the address at which somebody signs in."""
        challenge = create_s256_code_challenge(sign_in.verifier)
        address: str = prepare_grant_uri(
            self._whereabouts.get().authorization,
            client_id=self._ours.client_id,
            response_type="code",
            redirect_uri=self._ours.redirect_uri,
            scope=self._ours.scopes,
            state=sign_in.state,
            nonce=sign_in.nonce,
            code_challenge=challenge,
            code_challenge_method="S256",
        )
        return address

    def end(self, sign_in: SignIn, code: str) -> Claims:
        """Return what the provider says of whoever brings *code*; raises SignInRefused for a wrong one."""
        where = self._whereabouts.get()
        answer = self._trade(where, sign_in, code)
        access_token, id_token = answer.get("access_token"), answer.get("id_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str):
            raise ProviderAway("it gave no ID token")
        claims = self._verify(where, id_token, access_token, sign_in.nonce)
        if not where.userinfo:
            return claims
        more = _read(_get(where.userinfo, f"Bearer {access_token}"), "what it tells of people")
        if more.get("sub") != claims["sub"]:
            raise SignInRefused("the provider tells of somebody else than its ID token")
        return {**more, **claims}  # what is signed goes before what is not

    def say_whether_well(self) -> str:
        """Return its issuer, once both its addresses and its keys could be read."""
        self._keys.get()
        return self._whereabouts.get().issuer

    def _trade(self, where: Whereabouts, sign_in: SignIn, code: str) -> dict[str, Any]:
        """Return the tokens for a code."""
        body = prepare_token_request(
            "authorization_code",
            code=code,
            redirect_uri=self._ours.redirect_uri,
            code_verifier=sign_in.verifier,
        )
        we = ClientAuth(self._ours.client_id, self._ours.secret.reveal(), where.proof)
        _, headers, form = we.prepare("POST", where.token, {}, body)
        answer = _send("POST", where.token, headers.get("Authorization", ""), form)
        if 400 <= answer.status < 500:
            error = _find_error(answer)
            if answer.status == 401 or error in ("invalid_client", "unauthorized_client"):
                raise ProviderAway("it doesn't know us by OIDC_CLIENT_ID and OIDC_CLIENT_SECRET")
            raise SignInRefused(f"the provider refuses the code: {error or answer.status}")
        return _read(answer, "its tokens")

    def _verify(self, where: Whereabouts, id_token: str, access_token: str, nonce: str) -> Claims:
        expected, now = Expected(where.issuer, self._ours.client_id, nonce), self._clock()
        try:
            return read_id_token(id_token, self._keys.get(), expected, access_token, now)
        except UnknownKey:
            return read_id_token(id_token, self._keys.renew(), expected, access_token, now)

    def _find(self) -> Whereabouts:
        """Ask where everything is: https://openid.net/specs/openid-connect-discovery-1_0.html."""
        found = _read(_get(f"{self._ours.issuer}/.well-known/openid-configuration"), "its configuration")
        issuer = found.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._ours.issuer:
            raise ProviderAway("it calls itself otherwise than OIDC_ISSUER")
        taken = found.get("token_endpoint_auth_methods_supported")
        proofs = [proof for proof in _PROOFS if proof in taken] if isinstance(taken, list) else []
        return Whereabouts(
            issuer,
            authorization=self._find_address(found, "authorization_endpoint"),
            token=self._find_address(found, "token_endpoint"),
            keys=self._find_address(found, "jwks_uri"),
            userinfo=self._find_address(found, "userinfo_endpoint") if found.get("userinfo_endpoint") else "",
            proof=(proofs or _PROOFS)[0],
        )

    def _find_address(self, found: dict[str, Any], name: str) -> str:
        address = found.get(name)
        is_usable = isinstance(address, str) and is_web_link(address)
        # Nothing goes in the clear where the issuer itself doesn't.
        if not is_usable or urlsplit(self._ours.issuer).scheme == "https" != urlsplit(str(address)).scheme:
            raise ProviderAway(f"its configuration has no usable {name}")
        return str(address)

    def _read_keys(self) -> Any:
        found = _read(_get(self._whereabouts.get().keys), "its keys")
        try:
            return parse_keys(found)
        except ValueError:
            raise ProviderAway("it names no key that we can use") from None


def _get(url: str, authorization: str = "") -> Answer:
    return _send("GET", url, authorization)


def _send(method: str, url: str, authorization: str = "", form: str = "") -> Answer:
    try:
        address = Address(url, authorization)
        return exchange(method, address, "", form=form, timeout_s=TIMEOUT_S, at_most=_MAX_ANSWER)
    except TemporaryDeliveryError as error:
        raise ProviderAway(error.detail) from None


def _read(answer: Answer, what: str) -> dict[str, Any]:
    if not answer.is_ok:
        raise ProviderAway(f"it answers with status {answer.status} instead of {what}")
    found = _parse(answer)
    if not isinstance(found, dict):
        raise ProviderAway(f"{what} can't be read")
    return found


def _find_error(answer: Answer) -> str:
    """Return the word it says, if it is one of those that a standard could have."""
    found = _parse(answer)
    error = str(found.get("error", "")) if isinstance(found, dict) else ""
    return error if _ERROR.fullmatch(error) else ""


def _parse(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
