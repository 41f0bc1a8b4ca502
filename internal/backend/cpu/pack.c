//go:build !purego

/* pack.c - weights as the vector units take them: strips of 16 rows whose stored blocks lie side by side, so that what
 * unpacking would transpose are plain loads, and a strip is one stream. The field at byte f of the rows' blocks lies at
 * 16*f of the strip's, row after row: dwords, but for the two bytes or one by which a block is not a number of dwords,
 * its scale, which stands first or, in Q3_K and Q6_K, last. Scales and biases of affine types stay where they are. */
#include "quant.h"

/* Calls f with the offset and size of each field of a block. */
#define FIELDS(type, f) do { \
    const size_t bytes_ = (size_t)kr_types[type].bytes, odd_ = bytes_ % 4; \
    const int last_ = (type) == KR_Q3_K || (type) == KR_Q6_K; \
    if (odd_) f(last_ ? bytes_ - odd_ : 0, odd_); \
    for (size_t f_ = last_ ? 0 : odd_; f_ + 4 <= bytes_; f_ += 4) f(f_, 4); \
} while (0)

static void field(const uint8_t *in[KR_STRIP], size_t f, const size_t size, uint8_t *out) {
    for (size_t i = 0; i < KR_STRIP; i++)
        if (in[i]) memcpy(out + KR_STRIP * f + size * i, in[i] + f, size);
        else memset(out + KR_STRIP * f + size * i, 0, size);
}

void kr_pack(const kr_weight *w, int strip, uint8_t *out) {
    const size_t bytes = (size_t)kr_types[w->type].bytes;
    for (size_t b = 0; b < w->stride; b += bytes, out += KR_STRIP * bytes) {
        const uint8_t *in[KR_STRIP];
        for (int i = 0; i < KR_STRIP; i++) {
            const int r = strip * KR_STRIP + i;
            in[i] = r < w->rows ? w->data + (size_t)r * w->stride + b : NULL;
        }
#define PUT(at, size) field(in, at, size, out)
        FIELDS(w->type, PUT);
#undef PUT
    }
}

void kr_packed_row(const kr_weight *w, size_t r, uint8_t *out) {
    const size_t bytes = (size_t)kr_types[w->type].bytes, lane = r % KR_STRIP;
    const uint8_t *in = w->packed + (r - lane) * w->stride;
    for (size_t b = 0; b < w->stride; b += bytes, in += KR_STRIP * bytes) {
#define GET(at, size) memcpy(out + b + (at), in + KR_STRIP * (at) + (size) * lane, size)
        FIELDS(w->type, GET);
#undef GET
    }
}
