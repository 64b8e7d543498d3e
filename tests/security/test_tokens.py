"""The token file: hashes only, every mistake named without a word of what stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sojourn_server.app import App
from sojourn_server.errors import StartRefused
from sojourn_server.security.gate import _Bucket
from sojourn_server.security.tokens import PREFIX, BrokenTokens, TokenFile, digest, new_secret, read_tokens
from tests.security.conftest import configured, entry, secret_of


def test_secrets_are_long_and_never_the_same():
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith(PREFIX) and len(secret) >= 43 for secret in made)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[tokens]", "not valid TOML"),
        ('[[tokens]]\nid = "a"\nsecret = "hunter2"', "tokens.0.sha256"),
        ('[[tokens]]\nid = "a"\nsha256 = "hunter2"\nscopes = ["decide"]', "tokens.0.sha256"),
        (entry("a", "everything"), "tokens.0.scopes"),
        (entry("a"), "tokens.0.scopes"),
        (entry("a", "decide", calls_per_second=0), "tokens.0.calls_per_second"),
        (entry("a", "decide") + entry("a", "admin"), "stand twice"),
    ],
)
def test_a_mistake_is_named_and_nothing_of_the_file_is_shown(tmp_path: Path, text: str, said: str):
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(BrokenTokens) as caught:
        read_tokens(path)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StartRefused, match=r"security\.tokens"), App.open(configured(tmp_path, tokens=path)):
        pass


def test_a_missing_file_refuses_the_start(tmp_path: Path):
    with pytest.raises(StartRefused, match="No such file"):
        TokenFile.open(tmp_path / "none.toml")


def test_a_file_that_breaks_is_reported_once_and_its_tokens_stay(tmp_path: Path):
    path, faults = tmp_path / "tokens.toml", list[None]()
    path.write_text(entry("a", "decide"))
    tokens = TokenFile.open(path, broken=lambda: faults.append(None))
    path.write_text("nonsense hunter2")
    with capture_logs() as logs:
        for second in range(3):
            found = tokens.find(secret_of("a"), now_ms=10_000 + 2_000 * second)
            assert found is not None
            assert found.id == "a"
    assert len(faults) == 1
    assert [entry["event"] for entry in logs] == ["tokens_unreadable"]
    assert "hunter2" not in str(logs)
    path.unlink()
    assert tokens.find(secret_of("a"), now_ms=99_000) is not None


def test_a_secret_is_found_by_its_digest_alone(tmp_path: Path):
    path = tmp_path / "tokens.toml"
    path.write_text(entry("a", "decide"))
    tokens = TokenFile.open(path)
    for wrong in ("", digest(secret_of("a")), secret_of("a") + " ", secret_of("A")):
        assert tokens.find(wrong, now_ms=0) is None


def test_a_bucket_gives_a_seconds_worth_at_once_then_its_rate():
    bucket = _Bucket(0)
    assert [bucket.take(5.0, 0) for _ in range(6)] == [0, 0, 0, 0, 0, 200]
    assert bucket.take(5.0, 200) == 0
    assert bucket.take(5.0, 200) == 200
    assert [bucket.take(5.0, 60_000) for _ in range(6)] == [0, 0, 0, 0, 0, 200]


def test_a_clock_that_jumps_back_neither_gives_nor_takes_calls():
    bucket = _Bucket(10_000)
    assert bucket.take(1.0, 10_000) == 0
    assert bucket.take(1.0, 2_000) == 1_000
    assert bucket.take(1.0, 3_000) == 0


def test_less_than_a_call_a_second_is_still_one_call_at_once():
    bucket = _Bucket(0)
    assert [bucket.take(0.1, 0), bucket.take(0.1, 0), bucket.take(0.1, 10_000)] == [0, 10_000, 0]
