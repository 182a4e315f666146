/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA-256 (FIPS 180-4) in one header, so that the examples need no library and link statically. */
#ifndef EXAMPLES_SHA256_H
#define EXAMPLES_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sha256 {
  uint32_t state[8];
  uint64_t bytes;
  uint8_t block[64]; /* the bytes % 64 that wait for a full block */
};

static inline void sha256_init(struct sha256* h) {
  static const uint32_t start[8] = {
      0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  };

  memcpy(h->state, start, sizeof(start));
  h->bytes = 0;
}

static inline uint32_t sha256_rotr(uint32_t v, unsigned n) { return v >> n | v << (32 - n); }

static inline void sha256_block(uint32_t state[8], const uint8_t* data) {
  static const uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
  };
  uint32_t w[64], v[8];

  for (unsigned i = 0; i < 16; i++)
    w[i] = (uint32_t)data[4 * i] << 24 | (uint32_t)data[4 * i + 1] << 16 | (uint32_t)data[4 * i + 2] << 8 |
           data[4 * i + 3];
  for (unsigned i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];

    w[i] = w[i - 16] + w[i - 7] + (sha256_rotr(a, 7) ^ sha256_rotr(a, 18) ^ a >> 3) +
           (sha256_rotr(b, 17) ^ sha256_rotr(b, 19) ^ b >> 10);
  }
  for (unsigned i = 0; i < 8; i++) v[i] = state[i];
  for (unsigned i = 0; i < 64; i += 8) {
    /* Eight rounds bring each of a..h back to its own place, so nothing is moved. */
    for (unsigned j = 0; j < 8; j++) {
      uint32_t a = v[(8 - j) % 8], b = v[(9 - j) % 8], c = v[(10 - j) % 8];
      uint32_t e = v[(12 - j) % 8], f = v[(13 - j) % 8], g = v[(14 - j) % 8];
      uint32_t t = v[(15 - j) % 8] + (sha256_rotr(e, 6) ^ sha256_rotr(e, 11) ^ sha256_rotr(e, 25)) +
                   ((e & f) ^ (~e & g)) + k[i + j] + w[i + j];

      v[(11 - j) % 8] += t;
      v[(15 - j) % 8] =
          t + (sha256_rotr(a, 2) ^ sha256_rotr(a, 13) ^ sha256_rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    }
  }
  for (unsigned i = 0; i < 8; i++) state[i] += v[i];
}

static inline void sha256_update(struct sha256* h, const void* data, size_t n) {
  const uint8_t* p = data;
  size_t have = h->bytes % 64;

  h->bytes += n;
  if (have != 0) {
    size_t take = n < 64 - have ? n : 64 - have;

    memcpy(h->block + have, p, take);
    p += take;
    n -= take;
    if (have + take < 64) return;
    sha256_block(h->state, h->block);
  }
  for (; n >= 64; p += 64, n -= 64) sha256_block(h->state, p);
  if (n != 0) memcpy(h->block, p, n);
}

static inline void sha256_final(struct sha256* h, uint8_t digest[32]) {
  uint64_t bits = h->bytes * 8;
  uint8_t tail[72] = {0x80};
  size_t pad = (h->bytes % 64 < 56 ? 56 : 120) - h->bytes % 64;

  for (unsigned i = 0; i < 8; i++) tail[pad + i] = (uint8_t)(bits >> (56 - 8 * i));
  sha256_update(h, tail, pad + 8);
  for (unsigned i = 0; i < 32; i++) digest[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

#endif
