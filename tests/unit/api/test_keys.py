import hashlib

import pytest

from src.api import keys
from src.api.keys import Caller, Keyring, new_key
from src.core.errors import ConfigError


def test_a_key_is_known_by_its_hash_alone() -> None:
    key, entry = new_key("portal", "read")
    assert key not in entry
    assert entry == f"portal:read:{hashlib.sha256(key.encode()).hexdigest()}"
    assert Keyring(entry).caller(key.encode()) == Caller("portal", "read")
    assert Keyring(entry).caller(b"hc_wrong") is None
    assert Keyring(entry).caller(b"") is None


def test_a_key_is_replaced_without_a_gap() -> None:
    (old, first), (new, second) = new_key("portal", "read"), new_key("portal", "read")
    both = Keyring(f"{first}, {second}")
    assert both.caller(old.encode()) == both.caller(new.encode()) == Caller("portal", "read")
    assert Keyring(second).caller(old.encode()) is None


def test_no_entry_means_no_keys() -> None:
    assert not Keyring("")
    assert not Keyring(" \n")
    assert Keyring(new_key("a", "admin")[1])


@pytest.mark.parametrize(
    "entry", ["secret", "a:read:abc", "a:write:" + "0" * 64, "a b:read:" + "0" * 64, ":read:" + "0" * 64]
)
def test_a_wrong_entry_is_counted_and_not_repeated(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"entry 2 is not NAME:SCOPE:SHA256") as caught:
        Keyring(f"{new_key('a', 'read')[1]} {entry}")
    assert "secret" not in str(caught.value)


def test_the_command_prints_a_key_and_its_entry(capsys: pytest.CaptureFixture[str]) -> None:
    keys.main(["county", "--scope", "admin"])
    shown, entry = (line.split(": ", 1)[1].strip() for line in capsys.readouterr().out.splitlines())
    assert Keyring(entry).caller(shown.encode()) == Caller("county", "admin")


def test_the_command_refuses_a_name_that_the_setting_cannot_hold() -> None:
    with pytest.raises(ConfigError, match="API_KEYS: entry 1"):
        keys.main(["two words"])
