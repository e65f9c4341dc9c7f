"""Exchanging the refresh token for an idToken."""

from __future__ import annotations

from http import HTTPStatus

from deploy_action.platform.api.credentials import TOKEN_LIFE_SECONDS, Credentials
from deploy_action.platform.api.operations.documents import Text, TokenDocument, error_page
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.api.sign_in_limits import TooManyTokensError
from deploy_action.records import dataclass
from deploy_action.text.quantities import duration


@dataclass(frozen=True, slots=True)
class SignIn:
    """The operation that is open to all."""

    user_id: str
    credentials: Credentials

    def exchange_token(self, request: Request) -> TokenDocument | Text:
        """Exchange the refresh token for an idToken.

        An address from which many different wrong tokens came has to wait, also with the right one.
        """
        if not request.has("refreshToken"):
            return Text(error_page("Internal Server Error"), 500)  # the original throws
        token = str(request.fields["refreshToken"])
        try:
            id_token = self.credentials.exchange(token, request.address)
        except TooManyTokensError as error:
            message = f"{error} Wait {duration(error.seconds)}."
            status = HTTPStatus.TOO_MANY_REQUESTS
            raise ApiError(message, status, retry_after=error.seconds) from error
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
