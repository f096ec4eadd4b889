"""Tests of the signature that every token carries."""

import stat
import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recsys.errors import ConfigError, InvalidRequestError
from serving.attribution_token import AttributionToken
from serving.signer import KEY_FILE, Signer, signing_keys

OLD, NEW = b"an old key of the shop", b"a new key of the shop"
TOKEN = AttributionToken("0123456789abcdef" * 2, 1_512_000_000_000)


def test_a_token_comes_back_as_it_was() -> None:
    signer = Signer([NEW], "t")
    assert AttributionToken.read(signer, TOKEN.signed(signer)) == TOKEN
    assert len(TOKEN.signed(signer)) == 60


def test_every_changed_letter_is_noticed() -> None:
    signer = Signer([NEW], "t")
    token = TOKEN.signed(signer)
    alphabet = string.ascii_letters + string.digits + "-_=+/ \né"
    for at in range(len(token)):
        other = alphabet[(alphabet.index(token[at]) + 1) % 64]
        for changed in (token[:at] + other + token[at + 1 :], token[:at] + token[at + 1 :]):
            with pytest.raises(InvalidRequestError):
                AttributionToken.read(signer, changed)
    for added in alphabet:
        with pytest.raises(InvalidRequestError):
            AttributionToken.read(signer, token + added)


@pytest.mark.parametrize("garbage", ["", "x", "A" * 60, "A" * 100_000, "\x00", "é" * 60, "=" * 60])
def test_what_is_no_token_is_refused(garbage: str) -> None:
    with pytest.raises(InvalidRequestError, match="attribution_token: expected a token"):
        AttributionToken.read(Signer([NEW], "t"), garbage)


def test_tenants_and_purposes_do_not_share_tokens() -> None:
    token = TOKEN.signed(Signer([NEW], "one"))
    with pytest.raises(InvalidRequestError, match="changed"):
        AttributionToken.read(Signer([NEW], "two"), token)
    signer = Signer([NEW], "one")
    with pytest.raises(InvalidRequestError, match="changed"):
        signer.open("page_token", token, 24)


def test_after_a_rotation_old_tokens_hold_until_their_key_goes() -> None:
    token = TOKEN.signed(Signer([OLD], "t"))
    assert AttributionToken.read(Signer([NEW, OLD], "t"), token) == TOKEN
    with pytest.raises(InvalidRequestError, match="unknown version or key"):
        AttributionToken.read(Signer([NEW], "t"), token)
    assert TOKEN.signed(Signer([NEW, OLD], "t")) == TOKEN.signed(Signer([NEW], "t"))


def test_configured_keys_are_separated_by_commas_and_not_short(tmp_path: Path) -> None:
    assert signing_keys(f"{NEW.decode()}, {OLD.decode()}", tmp_path) == (NEW, OLD)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError) as caught:
        signing_keys("hunter2", tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_key_is_made_once_for_all_processes_and_its_owner_only(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: signing_keys(None, state), range(16)))
    assert len(made) == 1
    assert [path.name for path in state.iterdir()] == [KEY_FILE]
    assert stat.S_IMODE((state / KEY_FILE).stat().st_mode) == 0o600
    (state / KEY_FILE).write_text("short")
    with pytest.raises(ConfigError):
        signing_keys(None, state)
