"""What failures of HTTP are in words."""

from __future__ import annotations

from deploy_action.http.failures import explain


def test_long_words_of_an_error_are_cut_between_two() -> None:
    """Half a secret would not be recognised where others are hidden."""
    secret = "d1fe" * 5
    for length in range(150, 230):
        told = explain(OSError(f"{'x' * length} {secret} and more words"))
        assert "d1fe" not in told.replace(secret, "***")
        assert len(told) <= 230
    assert explain(OSError("short words.")) == "short words"
