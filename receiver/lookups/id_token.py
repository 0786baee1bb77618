"""Whether an ID token is to be believed: who wrote it, for whom, when, and for which sign-in.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet, OctKey

from receiver.errors import SignInDenied

Claims = dict[str, Any]

# Signatures that only the provider can make. Not `none`, which anybody can; not HS256 and its kin, whose key
# would be our client secret, or by a well-known trick the provider's public key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# What the provider's clock may differ from ours.
LEEWAY_S = 60
_MAX_KEYS = 100


class UnknownKey(SignInDenied):
    """No key that we know made the signature; the provider may have a new one by now."""


@dataclass(frozen=True)
class ExpectedClaims:
    """What the token must say."""

    issuer: str
    client_id: str
    nonce: str


def parse_keys(body: Any) -> KeySet:
    """Return the provider's public keys for signatures, leaving out those that we can't use.

    Raises ValueError where there is none.
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
    """Return the token's claims; raises SignInRefused, and UnknownKey where other keys might help."""
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
