//go:build !purego

/* pack.c - weights as the vector units take them: strips of 16 rows whose stored blocks lie side by side, so that what
 * unpacking would transpose are plain loads, and a strip is one stream. The field at byte f of the rows' blocks lies at
 * 16*f of the strip's, row after row: dwords, but for the two bytes or one by which a block is not a number of dwords,
 * its scale, which stands first or, in Q3_K and Q6_K, last. Scales and biases of affine types stay where they are. */
#include "quant.h"

static void field(const uint8_t *in[KR_STRIP], size_t f, const size_t size, uint8_t *out) {
    for (size_t i = 0; i < KR_STRIP; i++)
        if (in[i]) memcpy(out + KR_STRIP * f + size * i, in[i] + f, size);
        else memset(out + KR_STRIP * f + size * i, 0, size);
}

void kr_pack(const kr_weight *w, int strip, uint8_t *out) {
    const size_t bytes = (size_t)kr_types[w->type].bytes, odd = bytes % 4;
    const int last = w->type == KR_Q3_K || w->type == KR_Q6_K;
    for (size_t b = 0; b < w->stride; b += bytes, out += KR_STRIP * bytes) {
        const uint8_t *in[KR_STRIP];
        for (int i = 0; i < KR_STRIP; i++) {
            const int r = strip * KR_STRIP + i;
            in[i] = r < w->rows ? w->data + (size_t)r * w->stride + b : NULL;
        }
        if (odd == 1) field(in, 0, 1, out);
        else if (odd == 2) field(in, last ? bytes - 2 : 0, 2, out);
        for (size_t f = last ? 0 : odd; f + 4 <= bytes; f += 4) field(in, f, 4, out);
    }
}
