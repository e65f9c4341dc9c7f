from __future__ import annotations

import json
import secrets

from deploy_action.inputs.secrets import secrets_of


def test_each_string_of_the_keys_is_a_secret() -> None:
    """Masking the lines of pretty-printed JSON would mask every brace."""
    key, pem = secrets.token_hex(8), f"-----BEGIN\n{secrets.token_hex(8)}\n-----END"
    main = {"key": key, "pem": pem, "sandbox": True, "account": 8347561234}
    document = {"coinbase": {"main": main}, "x": ["***", "", 7]}
    found = secrets_of({"token": " t0ken ", "keys-json": json.dumps(document, indent=2)})
    assert found[0] == "t0ken"
    assert key in found
    assert pem in found
    assert "8347561234" in found
    assert not {"{", "}", "***", "", "true", "True", "main", "7"} & set(found)


def test_keys_that_are_not_json_are_masked_line_by_line() -> None:
    secret = secrets.token_hex(8)
    found = secrets_of({"keys-json": f'{{\n  "key": "{secret}",\n}}\n'})
    assert f'"key": "{secret}",' in found
    assert "{" not in found
