/* peak_impl.h - multiply-adds per second of the variant's dot product alone, on one thread and data in L1: what the
 * speed of a matmul is measured against. */
static KT double peak(void) {
    enum { N = 2 * MRI, STEPS = 4096 };
    vb w[8], a;
    memset(w, 1, sizeof w);
    memset(&a, 1, sizeof a);
    double best = 0;
    for (int run = 0; run < 4; run++) {
        vi s[N], s16[N];
        for (int i = 0; i < N; i++) s[i] = s16[i] = vi_zero();
        const double t0 = kr_now();
        for (int k = 0; k < STEPS; k++) {
            __asm__ volatile("" : : "r"(w) : "memory");     /* the weights are read anew */
UNROLL
            for (int j = 0; j < 8; j++)
UNROLL
                for (int i = 0; i < N; i++) dot_step(8, 0, j, &s16[i], &s[i], w[j], a);
        }
        const double t = kr_now() - t0;
        int32_t sum = 0;
        for (int i = 0; i < N; i++) sum += vi_sum(s[i]);
        if (sum != 0 && t > 0) {
            const double rate = (double)STEPS * 8 * N * VL * 4 / t;
            if (rate > best) best = rate;
        }
    }
    return best;
}
