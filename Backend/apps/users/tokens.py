"""Tokens: a short-lived access token for each request, and a refresh token that is good for one use.

A token names the user and carries a print of the password it was issued under, so a changed password ends
every token of that user. Who the user is now (role, active or not) is read anew with every request. A refresh
token that is used a second time was stolen, by the first user or by the second: its whole family ends, so the one
that came of it is good for nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.utils.crypto import constant_time_compare
from ninja_jwt.exceptions import TokenError
from ninja_jwt.tokens import AccessToken, RefreshToken

from apps.users.models import TokenFamily, User

log = structlog.get_logger("coldreel.access")

_USER_CLAIM = "user_id"
_FAMILY_CLAIM = "family"
_PASSWORD_CLAIM = "pwd"  # noqa: S105 - the claim's name
_PRINT_CHARACTERS = 16
_LARGEST_USER_ID = 2**63 - 1

# The library's own annotations of its tokens are wrong: they are Any here.
_REFRESH: Any = RefreshToken
_ACCESS: Any = AccessToken


class TokenRefused(Exception):
    """Expired, forged, revoked, used already, or its user is gone, inactive or has another password."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """`repr` hides both (P10)."""

    access: str
    refresh: str

    def __repr__(self) -> str:
        return "TokenPair()"


def tokens_issue(user: User) -> TokenPair:
    """A new pair for a user who proved who they are, the first of a family."""
    refresh = _new_refresh(user, uuid4())
    # No job cleans this table: each sign-in takes away what has run out.
    TokenFamily.objects.filter(expires_at__lte=refresh.current_time).delete()
    TokenFamily.objects.create(pk=UUID(refresh[_FAMILY_CLAIM]), user=user, **_current(refresh))
    return _pair(refresh)


def tokens_refresh(refresh: str) -> TokenPair:
    """A new pair for a refresh token, which is used up by it. Raises TokenRefused.

    Of two uses one wins, and the other ends the family: neither can go on.
    """
    token = _read(_REFRESH, refresh)
    user = _user_of(token)
    successor = _new_refresh(user, _family_of(token))
    family = TokenFamily.objects.filter(pk=_family_of(token), user=user)
    token_id = token.get("jti")
    if not isinstance(token_id, str) or not token_id.isalnum():
        raise TokenRefused("The token has no id.")
    # One statement, so that of two uses at once one finds the id changed.
    if family.filter(token_id=token_id).update(**_current(successor)):
        return _pair(successor)
    ended, _ = family.delete()
    if ended:
        log.warning("token.used_twice", username=user.get_username())
    raise TokenRefused("The token was used already, or revoked.")


def tokens_revoke(refresh: str) -> None:
    """Log out: this refresh token and what came of it is good for nothing more. Raises TokenRefused."""
    ended, _ = TokenFamily.objects.filter(pk=_family_of(_read(_REFRESH, refresh))).delete()
    if not ended:
        raise TokenRefused("The token was revoked already.")


def user_of_access(access: str) -> User:
    """The user of an access token, as the database has them now. Raises TokenRefused."""
    return _user_of(_read(_ACCESS, access))


def _new_refresh(user: User, family: UUID) -> Any:
    refresh = _REFRESH.for_user(user)
    refresh[_PASSWORD_CLAIM] = _password_print(user)
    refresh[_FAMILY_CLAIM] = family.hex
    return refresh


def _pair(refresh: Any) -> TokenPair:
    return TokenPair(access=str(refresh.access_token), refresh=str(refresh))


def _current(refresh: Any) -> dict[str, Any]:
    return {"token_id": refresh["jti"], "expires_at": datetime.fromtimestamp(refresh["exp"], UTC)}


def _read(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    # The library converts claims before it looks at them: a date beyond the calendar, a number that is none.
    except (TokenError, ValueError, TypeError, OverflowError, OSError) as error:
        raise TokenRefused("The token is invalid or expired.") from error


def _user_of(token: Any) -> User:
    user_id, found_print = token.get(_USER_CLAIM), token.get(_PASSWORD_CLAIM)
    # Not isinstance(): a boolean is an int there. The column has 64 bits.
    if type(user_id) is not int or not 0 < user_id <= _LARGEST_USER_ID:
        raise TokenRefused("The token names no user.")
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not isinstance(found_print, str) or not found_print.isascii():
        raise TokenRefused("The token's user is gone or inactive, or it has no print of a password.")
    if not constant_time_compare(found_print, _password_print(user)):
        raise TokenRefused("The token's user has another password.")
    return user


def _family_of(token: Any) -> UUID:
    try:
        return UUID(token.get(_FAMILY_CLAIM))
    except (ValueError, TypeError, AttributeError) as error:
        raise TokenRefused("The token belongs to no family.") from error


def _password_print(user: User) -> str:
    return user.get_session_auth_hash()[:_PRINT_CHARACTERS]
