"""Ed25519 signatures (RFC 8032) over bytes, with keys and signatures in hex; `cryptography` is needed only here."""

from types import ModuleType

from src.core.errors import ConfigError


def sign(message: bytes, private_key: str) -> str:
    """Sign with a private key of 64 hex digits (ConfigError when it is not one)."""
    key = _ed25519().Ed25519PrivateKey.from_private_bytes(_key_bytes(private_key, "BUNDLE_PRIVATE_KEY"))
    signature: bytes = key.sign(message)
    return signature.hex()


def matches(message: bytes, signature: str, public_key: str) -> bool:
    """Tell whether the holder of the private key signed exactly this message (ConfigError: not a public key)."""
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(_key_bytes(public_key, "BUNDLE_PUBLIC_KEY"))
        key.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _key_bytes(key: str, variable: str) -> bytes:
    # The message never repeats the key.
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ConfigError(f"{variable} is not an Ed25519 key: it must be 32 bytes in 64 hex digits")
    return raw


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ConfigError("signing bundles needs the package `cryptography`: install it or unset the key") from error
    return ed25519
