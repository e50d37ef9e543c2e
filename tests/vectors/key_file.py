#!/usr/bin/env python3
"""Prints tests/unit/crypto/key_file_vector.h: a protected key file (crypto/key_file.h) made without
libsodium: Argon2id by the reference implementation, XChaCha20-Poly1305 by PyCryptodome.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install argon2-cffi pycryptodome
    /tmp/venv/bin/python tests/vectors/key_file.py > tests/unit/crypto/key_file_vector.h
"""
import hashlib

from argon2.low_level import Type, hash_secret_raw
from Crypto.Cipher import ChaCha20_Poly1305

PASSPHRASE = "correct horse battery st\u00e4ple"
KEY = "neurox-identity-1 " + bytes(range(32)).hex() + "\n"
SALT = bytes(range(16))
NONCE = bytes(range(16, 40))
PASSES, MEMORY = 3, 1 << 20

header = (f"neurox-protected-key-1\nargon2id {PASSES} {MEMORY} {SALT.hex()}\n"
          f"xchacha20poly1305 {NONCE.hex()}\n").encode()
key = hash_secret_raw(PASSPHRASE.encode(), SALT, time_cost=PASSES, memory_cost=MEMORY >> 10,
                      parallelism=1, hash_len=32, type=Type.ID, version=19)
cipher = ChaCha20_Poly1305.new(key=key, nonce=NONCE)
cipher.update(header)
sealed, tag = cipher.encrypt_and_digest(KEY.encode())
text = header + f"sealed {(sealed + tag).hex()}\n".encode()
text += f"sha256 {hashlib.sha256(text).hexdigest()}\n".encode()

print("/* Made by tests/vectors/key_file.py; do not edit. */\n#pragma once\n")
for name, value in (("PASSPHRASE", PASSPHRASE.encode()), ("KEY", KEY.encode()), ("FILE", text)):
    print(f"#define VECTOR_KEY_{name} \\")
    lines = value.split(b"\n")
    pieces = [piece + b"\n" for piece in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    print(" \\\n".join('  "' + "".join(chr(c) if 32 <= c < 127 else "\\n" if c == 10 else f"\\{c:03o}"
                                       for c in piece) + '"' for piece in pieces))
