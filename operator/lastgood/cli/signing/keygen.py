"""`lastgood keygen`: a key pair to sign checkpoints with."""

import argparse

from lastgood.cli import parser
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.signing import keyfiles
from lastgood.verify.signing import CURVES, generate_key


def add_options(added: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    added.add_argument(
        "--key", type=parser.path, required=True, metavar="FILE", help="the file for the private key (PEM, 0600)"
    )
    added.add_argument(
        "--public-key", type=parser.path, required=True, metavar="FILE", help="the file for the public key (PEM)"
    )
    added.add_argument("--curve", choices=list(CURVES), default="P-256", help="(default: %(default)s)")
    keyfiles.add_password(added)


def run(args: argparse.Namespace) -> int:
    """Write both halves, and print the key's id."""
    password = keyfiles.password(args)
    keyfiles.require_absent("--key", args.key)
    keyfiles.require_absent("--public-key", args.public_key)
    key = generate_key(args.curve)
    keyfiles.create("--key", args.key, key.pem(password), 0o600)
    try:
        keyfiles.create("--public-key", args.public_key, key.public.pem(), 0o644)
    except UsageError:
        args.key.unlink()
        raise
    print(key.public.key_id)
    return Exit.OK
