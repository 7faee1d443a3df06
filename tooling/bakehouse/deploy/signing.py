"""Sign the entries of the record with an ssh key or a shared secret, and check signatures."""

import base64
import hashlib
import hmac
import os
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from bakehouse.errors import BakehouseError

KEY, SECRET = "BAKEHOUSE_SIGNING_KEY", "BAKEHOUSE_SIGNING_SECRET"
_HMAC = "hmac"  # how bakehouse.toml names the secret among the signers
_NAMESPACE = ("-n", "bakehouse")
_PATIENCE = 30  # seconds: an agent may ask the owner of the key


def require_key(variables: Mapping[str, str], signers: Collection[str]) -> None:
    """Refuse to begin a run that would not be signed by a named signer."""
    text = "a run is about to begin"
    try:
        if signers:
            signer_of(text, sign(text, variables)[1], variables, signers)
    except BakehouseError as error:
        said = f"bakehouse.toml names signers, and this run would be {error.message}"
        raise BakehouseError(
            error.kind,
            said if error.kind == "gate" else error.message,
            f"Nothing was run. {error.hint}",
        ) from None


def sign(text: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """Return the signer and the signature of the text. Both are empty without a key."""
    if key := variables.get(KEY):
        done = _ssh_keygen("sign", *_NAMESPACE, "-f", key, given=text)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:]
            raise BakehouseError(
                "usage",
                f"{KEY} cannot sign: {''.join(said)}",
                "Name an ssh key without a passphrase, or a public key that an agent holds.",
            )
        return _fingerprint(done.stdout), done.stdout
    secret = variables.get(SECRET)
    return (_HMAC, _hmac(secret, text)) if secret else ("", "")


def signer_of(
    text: str, signature: str, variables: Mapping[str, str], signers: Collection[str]
) -> str:
    """Return the named signer that made the signature. Raises an error if none did."""
    if not signature:
        raise _unsigned("not signed", f"Set {KEY} to the file of an ssh key, or {SECRET}.")
    if not signature.startswith("-----"):
        secret = variables.get(SECRET)
        if not secret:
            raise _unsigned("signed with a secret that is not set here", f"Set {SECRET}.")
        if _HMAC in signers and hmac.compare_digest(signature, _hmac(secret, text)):
            return _HMAC
        raise _unsigned(f'not signed with the secret in {SECRET}, or bakehouse.toml lacks "hmac"')
    with tempfile.TemporaryDirectory() as folder:
        allowed, file = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text("".join(f"{one}\n" for one in signers if one != _HMAC))
        file.write_text(signature)
        files = ("-f", str(allowed), "-s", str(file))
        found = _ssh_keygen("find-principals", *files)
        name = found.stdout.partition("\n")[0]
        if (
            found.returncode
            or _ssh_keygen("verify", *_NAMESPACE, *files, "-I", name, given=text).returncode
        ):
            raise _unsigned(f"signed by {_fingerprint(signature)}, which is no named signer")
    return name


def _unsigned(why: str, hint: str = "") -> BakehouseError:
    return BakehouseError("gate", why, hint or "`signers` in bakehouse.toml names who may sign.")


def _ssh_keygen(action: str, *options: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run ssh-keygen, which never asks for a passphrase: the new session has no terminal."""
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", action, *options],
            input=given,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},
            start_new_session=True,
        )
    except FileNotFoundError:
        why, hint = "is not installed", f"Install openssh-client, or sign with {SECRET}."
    except subprocess.TimeoutExpired:
        why, hint = f"did not answer within {_PATIENCE} s", f"Check the agent that holds {KEY}."
    raise BakehouseError("usage", f"ssh-keygen {why}", hint)


def _hmac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), f"bakehouse {text}".encode(), "sha256").hexdigest()


def _fingerprint(signature: str) -> str:
    """Return the fingerprint of the ssh key, which a signature contains."""
    try:
        blob = base64.b64decode("".join(signature.splitlines()[1:-1]))
    except ValueError:
        return "no key"
    key = blob[14 : 14 + int.from_bytes(blob[10:14])]  # after the magic, the version and a length
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
