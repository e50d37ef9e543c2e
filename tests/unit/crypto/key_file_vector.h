/* Made by tests/vectors/key_file.py; do not edit. */
#pragma once

#define VECTOR_KEY_PASSPHRASE \
  "correct horse battery st\303\244ple"
#define VECTOR_KEY_KEY \
  "neurox-identity-1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define VECTOR_KEY_FILE \
  "neurox-protected-key-1\n" \
  "argon2id 3 1048576 000102030405060708090a0b0c0d0e0f\n" \
  "xchacha20poly1305 101112131415161718191a1b1c1d1e1f2021222324252627\n" \
  "sealed aa1d6cfcbe871fd2747fa3b5a85eba4a5f81c40a635e6fd4e7b9b524d28846c875f5732561f641a700637835361638ac7c9a1120cb693338012f48fbd4db2f8e37500eb1dcb906ebf5bb9f0d2fff403da287501c5a4320ffffa3b93e257ac0569fdc9c\n" \
  "sha256 1e015a6adf34b3514c0f5ee9f8a9c5a03691631f348d005921a6d9f88689eff7\n"
