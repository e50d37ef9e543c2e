#!/usr/bin/env python3
"""Prints tests/unit/crypto/vectors.h: what crypto/ must give, computed here independently
with hashlib, hmac and the "cryptography" package.

    python3 tests/vectors/crypto_vectors.py > tests/unit/crypto/vectors.h
"""
import functools
import hashlib
import hmac
import operator
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def aes_sbox():
    inverse = [0] + [next(b for b in range(1, 256) if gmul(a, b) == 1) for a in range(1, 256)]
    rotated = lambda v, by: (v << by | v >> (8 - by)) & 255
    return [v ^ rotated(v, 1) ^ rotated(v, 2) ^ rotated(v, 3) ^ rotated(v, 4) ^ 0x63 for v in inverse]


def gmul(a, b):
    product = 0
    for bit in range(8):
        product ^= a * (b >> bit & 1)
        a = a << 1 ^ (0x11b if a & 128 else 0)
    return product


SBOX = aes_sbox()
TWICE = [gmul(2, v) for v in range(256)]


def aes_round(block, key):
    """FIPS 197: SubBytes, ShiftRows, MixColumns, AddRoundKey."""
    out = bytearray(16)
    for c in range(4):
        a = [SBOX[block[(4 * (c + r) + r) % 16]] for r in range(4)]
        for r in range(4):
            one, two, three, four = a[r], a[(r + 1) % 4], a[(r + 2) % 4], a[(r + 3) % 4]
            out[4 * c + r] = TWICE[one] ^ TWICE[two] ^ two ^ three ^ four ^ key[4 * c + r]
    return bytes(out)


def xor(*blocks):
    return bytes(functools.reduce(operator.xor, column) for column in zip(*blocks))


def aegis256_stream(key, nonce, n_blocks):
    """RFC 10032: Stream(), AEGIS-256."""
    c0 = bytes.fromhex("000101020305080d1522375990e97962")
    c1 = bytes.fromhex("db3d18556dc22ff12011314273b528dd")
    k0, k1, n0, n1 = key[:16], key[16:], nonce[:16], nonce[16:]
    s = [xor(k0, n0), xor(k1, n1), c1, c0, xor(k0, c0), xor(k1, c1)]

    def update(s, m):
        return [aes_round(s[5], xor(s[0], m))] + [aes_round(s[i - 1], s[i]) for i in range(1, 6)]

    for _ in range(4):
        for m in (k0, k1, xor(k0, n0), xor(k1, n1)):
            s = update(s, m)
    blocks = []
    for _ in range(n_blocks):
        both = bytes(a & b for a, b in zip(s[2], s[3]))
        blocks.append(xor(s[1], s[4], s[5], both))
        s = update(s, bytes(16))
    return blocks


def aegis_mask(key, stream, begin, end):
    """Bytes begin..end of a mask of AEGIS-256 (docs/wire.md), multiples of 16."""
    out, made = b"", {}
    for block in range(begin // 16, end // 16):
        segment, at = divmod(block, 2048)
        lane = (segment, at % 4)
        if lane not in made:
            nonce = struct.pack("<QQQQ", stream, segment, at % 4, 0)
            made[lane] = aegis256_stream(key, nonce, 512)
        out += made[lane][at // 4]
    return out


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u32(v):
    return struct.pack("<I", v)


def u64(v):
    return struct.pack("<Q", v)


def var(b):
    return u32(len(b)) + b


def tag(s):
    return var(s.encode())


def fill(start, n=32):
    return bytes((start + i) & 255 for i in range(n))


def hkdf(key, salt, info, n=32):
    prk = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    out, block = b"", b""
    i = 1
    while len(out) < n:
        block = hmac.new(prk, block + info + bytes([i]), hashlib.sha256).digest()
        out += block
        i += 1
    return out[:n]


def emit(name, data):
    print(f'#define {name} "{data.hex()}"')



def merkle(leaves):
    n = len(leaves)
    if n == 0:
        return H(b"")
    if n == 1:
        return H(b"\0", leaves[0])
    k = 1
    while k * 2 < n:
        k *= 2
    return H(b"\1", merkle(leaves[:k]), merkle(leaves[k:]))


def main():
    print("/* Made by tests/vectors/crypto_vectors.py; do not edit. */")
    print("#pragma once\n")

    sk = Ed25519PrivateKey.from_private_bytes(fill(1))
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    emit("VECTOR_SIGN_PK", sk.public_key().public_bytes(*raw))
    emit("VECTOR_SIGN_M1", sk.sign(b"NX-SA1/M1\0" + b"the body"))
    pk = sk.public_key().public_bytes(*raw)
    emit("VECTOR_FINGERPRINT", H(tag("SA1/fingerprint"), var(pk))[:20])

    t = fill(100)
    emit("VECTOR_SHARE_KEY", hkdf(fill(7), t, b"SA1/enc" + u32(3) + u32(200)))
    emit("VECTOR_PAIR_KEY", hkdf(fill(7), t, b"SA1/pair" + u32(3) + u32(200)))
    emit("VECTOR_SELF_KEY", hkdf(fill(7), t, b"SA1/self" + u32(9)))
    emit("VECTOR_ROTATION", hkdf(t, b"", b"SA1/rot", 8))
    box = ChaCha20Poly1305(fill(50)).encrypt(bytes(12), fill(9, 64), t + u32(3) + u32(200))
    emit("VECTOR_SEALED", box)

    emit("VECTOR_AEGIS_0", aegis_mask(fill(77), 0, 5 * 32768 - 96, 5 * 32768 + 96))
    emit("VECTOR_AEGIS_1", aegis_mask(fill(77), 1, 32, 96))

    # f(x) = secret + c1 x + c2 x^2 bytewise, at x = 1, 2, 255
    secret, c1, c2 = fill(1), fill(40), fill(90)
    shares = b""
    for x in (1, 2, 255):
        shares += bytes(s ^ gmul(a, x) ^ gmul(b, gmul(x, x)) for s, a, b in zip(secret, c1, c2))
    emit("VECTOR_SHARES", shares)

    members = [(1, fill(10), fill(11)), (7, fill(12), fill(13)), (255, fill(14), fill(15))]
    numbers = [tag("SA1/parameters"), u32(2), u64(1000), u64(518), u32(32), u32(24), u32(0),
               u32(0), struct.pack("<ddd", 0.5, 1.25, 0.0)]
    parameters = H(*numbers)
    emit("VECTOR_PARAMETERS", parameters)
    numbers[4:6] = u32(16), u32(8)
    emit("VECTOR_PARAMETERS_NARROW", H(*numbers, u32(1)))
    emit("VECTOR_PARAMETERS_NARROW_AEGIS", H(*numbers, u32(1), u32(1)))
    emit("VECTOR_PARAMETERS_AEGIS", H(*numbers, u32(0), u32(1)))
    t0 = H(tag("SA1/ctx"), u32(1), fill(20, 16), fill(21), fill(22), fill(23), u64(5), u32(2),
           u32(3), *(u32(i) + s + p for i, s, p in members), u32(3), fill(24), parameters)
    emit("VECTOR_T0", t0)
    t1 = H(tag("SA1/roster"), t0, u32(2), u32(1), var(b"advert of 1"), u32(7), var(b"of 7"))
    emit("VECTOR_T1", t1)
    t2 = H(tag("SA1/shares"), t1, u32(2), u32(1), fill(30), u32(7), fill(31))
    emit("VECTOR_T2", t2)
    emit("VECTOR_T3", H(tag("SA1/commit"), t2, u32(2), u32(1), fill(32), u32(7), fill(33)))
    emit("VECTOR_COMMIT_B", H(tag("SA1/b"), t0, u32(7), fill(60)))
    emit("VECTOR_COMMIT_SHARE_B", H(tag("SA1/sh-b"), t1, u32(7), u32(1), fill(61)))
    emit("VECTOR_COMMIT_SHARE_S", H(tag("SA1/sh-s"), t1, u32(7), u32(1), fill(61)))

    for stream in (0, 1):
        iv = struct.pack(">QQ", stream, 0xFFFFFFFF)
        enc = Cipher(algorithms.AES(fill(77)), modes.CTR(iv)).encryptor()
        emit(f"VECTOR_KEYSTREAM_{stream}", enc.update(bytes(48)))

    leaves = [bytes([i] * i) for i in range(12)]
    print("#define VECTOR_MERKLE_ROOTS \\")
    roots = [f'  "{merkle(leaves[:n]).hex()}"' for n in range(len(leaves) + 1)]
    print(", \\\n".join(roots))


main()
