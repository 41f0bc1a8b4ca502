/* weights.c - random weights of every type. */
#include "../kern.h"
#include "ctest.h"

static void fill(uint8_t *p, int type, size_t blocks) {
    const kr_traits *t = &kr_types[type];
    for (size_t i = 0; i < blocks * (size_t)t->bytes; i++) p[i] = (uint8_t)(rnd() >> 9);
    for (size_t b = 0; b < blocks; b++, p += t->bytes) {
        uint16_t d = kr_to_f16(0.01f * rndf()), m = kr_to_f16(0.02f * rndf());
        switch (type) {
        case KR_Q4_1: case KR_Q5_1: case KR_Q4_K: case KR_Q5_K: memcpy(p + 2, &m, 2); /* fall through */
        case KR_Q4_0: case KR_Q5_0: case KR_Q8_0: case KR_IQ4_NL: memcpy(p, &d, 2); break;
        case KR_Q2_K: memcpy(p + 80, &d, 2); memcpy(p + 82, &m, 2); break;
        case KR_Q3_K: memcpy(p + 108, &d, 2); break;
        case KR_Q6_K: memcpy(p + 208, &d, 2); break;
        case KR_MXFP4: p[0] = (uint8_t)(rnd() % 20 + 110); break;
        }
    }
}

kr_weight test_weight(int type, int rows, int cols, int group, int aux) {
    const kr_traits *t = &kr_types[type];
    kr_weight w = { .type = type, .rows = rows, .cols = cols, .group = group, .aux = aux };
    if (type <= KR_BF16) {
        w.stride = (size_t)cols * (size_t)t->bytes;
        uint8_t *p = tmem(w.stride * (size_t)rows);
        for (size_t i = 0; i < (size_t)rows * (size_t)cols; i++) {
            float f = rndf(); uint16_t h = kr_to_f16(f); uint32_t u; memcpy(&u, &f, 4); u >>= 16;
            if (type == KR_F32) memcpy(p + 4 * i, &f, 4); else if (type == KR_F16) memcpy(p + 2 * i, &h, 2); else memcpy(p + 2 * i, &u, 2);
        }
        w.data = p;
        return w;
    }
    size_t blocks = (size_t)(cols / (QK * t->per)), scale = aux == KR_F32 ? 4 : 2;
    w.stride = blocks * (size_t)t->bytes;
    uint8_t *p = tmem(w.stride * (size_t)rows);
    size_t n = blocks * (size_t)rows, first = n < 8192 ? n : 8192;
    fill(p, type, first);
    for (size_t i = first; i < n; i++) memcpy(p + i * (size_t)t->bytes, p + i * 2654435761u % first * (size_t)t->bytes, (size_t)t->bytes);
    w.data = p;
    if (type >= KR_AFF2) {
        w.astride = (size_t)(cols / group) * scale;
        uint8_t *a[2];
        for (int k = 0; k < 2; k++) {
            a[k] = tmem(w.astride * (size_t)rows);
            for (size_t i = 0; i < (size_t)rows * (size_t)(cols / group); i++) {
                float f = 0.02f * rndf(); uint16_t h = kr_to_f16(f); uint32_t u; memcpy(&u, &f, 4); u >>= 16;
                if (aux == KR_F32) memcpy(a[k] + 4 * i, &f, 4); else if (aux == KR_F16) memcpy(a[k] + 2 * i, &h, 2); else memcpy(a[k] + 2 * i, &u, 2);
            }
        }
        w.scales = a[0]; w.biases = a[1];
    }
    return w;
}
uint8_t *test_pack(const kr_weight *w) {
    if (w->type <= KR_BF16) return NULL;
    const int strips = (w->rows + KR_STRIP - 1) / KR_STRIP;
    uint8_t *p = tmem((size_t)strips * KR_STRIP * w->stride);
    for (int i = 0; i < strips; i++) kr_pack(w, i, p + (size_t)i * KR_STRIP * w->stride);
    return p;
}
void free_weight(kr_weight *w) { tfree((void *)w->data); tfree((void *)w->scales); tfree((void *)w->biases); }
