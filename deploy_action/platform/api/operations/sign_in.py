"""Exchanging the refresh token for an idToken."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_action.platform.api.credentials import TOKEN_LIFE_SECONDS, Credentials
from deploy_action.platform.api.operations.documents import Text, TokenDocument, error_page
from deploy_action.platform.api.request import Request


@dataclass(frozen=True, slots=True)
class SignIn:
    """The operation that is open to all."""

    user_id: str
    credentials: Credentials

    def exchange_token(self, request: Request) -> TokenDocument | Text:
        """Exchange the refresh token for an idToken."""
        if not request.has("refreshToken"):
            return Text(error_page("Internal Server Error"), 500)  # the original throws
        id_token = self.credentials.exchange(str(request.fields["refreshToken"]))
        if id_token is None:
            return Text("Error", 401)
        return {
            "idToken": id_token,
            "status": "success",
            "data": {
                "user_id": self.user_id,
                "id_token": id_token,
                "token_type": "Bearer",
                "expires_in": str(TOKEN_LIFE_SECONDS),
            },
        }
