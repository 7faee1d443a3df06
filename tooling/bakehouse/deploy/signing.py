"""Sign the entries of the record with an ssh key or a shared secret, and check signatures."""

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
    _, why = check(text, sign(text, variables)[1], variables, signers) if signers else ("", "")
    if why:
        raise BakehouseError(
            "gate",
            f"bakehouse.toml names signers, and this run would be {why}",
            f"Nothing was run. Set {KEY} to the file of an ssh key, or {SECRET}.",
        )


def sign(text: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """Return the kind of signer and the signature of the text. Both are empty without a key."""
    if key := variables.get(KEY):
        done = _ssh_keygen("sign", *_NAMESPACE, "-f", key, given=text)
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2]
            hint = "Name an ssh key without a passphrase, or a public key that an agent holds."
            raise BakehouseError("usage", f"{KEY} cannot sign: {said}", hint)
        return "ssh", done.stdout
    secret = variables.get(SECRET)
    return (_HMAC, _hmac(secret, text)) if secret else ("", "")


def check(
    text: str, signature: str, variables: Mapping[str, str], signers: Collection[str]
) -> tuple[str, str]:
    """Return the named signer that made the signature, or '' and why none did."""
    if not signature:
        return "", "not signed"
    if not signature.startswith("-----"):
        secret = variables.get(SECRET)
        if not secret:
            return "", f"signed with a secret, and {SECRET} is not set here"
        same = hmac.compare_digest(signature.encode(), _hmac(secret, text).encode())
        if same and _HMAC in signers:
            return _HMAC, ""
        return "", f'not signed with the secret in {SECRET}, or bakehouse.toml lacks "{_HMAC}"'
    with tempfile.TemporaryDirectory() as folder:
        allowed, file = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text("".join(f"{one}\n" for one in signers if one != _HMAC))
        file.write_text(signature)
        files = ("-f", str(allowed), "-s", str(file))
        name = _ssh_keygen("find-principals", *files).stdout.partition("\n")[0]
        if not name:
            return "", "signed with a key that is no named signer's"
        done = _ssh_keygen("verify", *_NAMESPACE, *files, "-I", name, given=text)
        return ("", f"not what {name} signed") if done.returncode else (name, "")


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
