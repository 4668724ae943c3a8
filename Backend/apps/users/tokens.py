"""Tokens: a short-lived access token for each request, and a refresh token that is good for one use.

A token names the user and carries a print of the password it was issued under, so a changed password ends
every token of that user. Who the user is now (role, active or not) is read anew with every request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.crypto import constant_time_compare
from ninja_jwt.exceptions import TokenError
from ninja_jwt.tokens import AccessToken, RefreshToken

from apps.users.models import User

_USER_CLAIM = "user_id"
_PASSWORD_CLAIM = "pwd"  # noqa: S105 - the claim's name
_PRINT_CHARACTERS = 16

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
    """A new pair for a user who proved who they are."""
    refresh = _REFRESH.for_user(user)
    refresh[_PASSWORD_CLAIM] = _password_print(user)
    return TokenPair(access=str(refresh.access_token), refresh=str(refresh))


def tokens_refresh(refresh: str) -> TokenPair:
    """A new pair for a refresh token, which is used up by it; of two uses at once one wins. Raises TokenRefused."""
    token = _read(_REFRESH, refresh)
    user = _user_of(token)
    with transaction.atomic():
        _revoke(token)
        return tokens_issue(user)


def tokens_revoke(refresh: str) -> None:
    """Log out: the refresh token is good for nothing more. Raises TokenRefused."""
    _revoke(_read(_REFRESH, refresh))


def user_of_access(access: str) -> User:
    """The user of an access token, as the database has them now. Raises TokenRefused."""
    return _user_of(_read(_ACCESS, access))


def _read(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except TokenError as error:
        raise TokenRefused(str(error)) from error


def _revoke(token: Any) -> None:
    _, first = token.blacklist()
    if not first:
        raise TokenRefused("The token was used already.")


def _user_of(token: Any) -> User:
    user = User.objects.filter(pk=token.get(_USER_CLAIM), is_active=True).first()
    if user is None or not constant_time_compare(str(token.get(_PASSWORD_CLAIM, "")), _password_print(user)):
        raise TokenRefused("The token's user is gone, inactive or has another password.")
    return user


def _password_print(user: User) -> str:
    return user.get_session_auth_hash()[:_PRINT_CHARACTERS]
