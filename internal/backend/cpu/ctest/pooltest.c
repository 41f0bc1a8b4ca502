/* pooltest.c - the thread pool: every chunk of every phase runs once, in the phases' order, whatever the threads. */
#include "../pool.h"
#include "ctest.h"
#include <stdatomic.h>
#include <time.h>

enum { PHASES = 200, MOST = 40 };
typedef struct { _Atomic int ran[PHASES][MOST], done[PHASES]; int n[PHASES]; _Atomic int bad; int plain[PHASES][MOST]; } work;

static int begin(void *ctx, int p) {
    work *w = ctx;
    if (p == PHASES) return -1;
    for (int q = 0; q < p; q++) if (atomic_load(&w->done[q]) != w->n[q]) atomic_fetch_add(&w->bad, 1);
    return w->n[p];
}
static void run(void *ctx, int p, int chunk, int thread) {
    work *w = ctx;
    (void)thread;
    if (atomic_fetch_add(&w->ran[p][chunk], 1)) atomic_fetch_add(&w->bad, 1);
    /* plain memory: what the phase before wrote must be seen */
    int sum = 0, q = p - 1;
    while (q >= 0 && !w->n[q]) q--;
    if (q >= 0) for (int i = 0; i < w->n[q]; i++) sum += w->plain[q][i] == q + 1;
    if (q >= 0 && sum != w->n[q]) atomic_fetch_add(&w->bad, 1);
    for (volatile int i = 0; i < (int)((unsigned)(p * 31 + chunk * 17) % 400u); i++) {}
    w->plain[p][chunk] = p + 1;
    atomic_fetch_add(&w->done[p], 1);
}

int main(void) {
    int fails = 0;
    static work w;
    for (int threads = 1; threads <= 9; threads += threads < 4 ? 1 : 5) {
        kr_program prog = { &w, begin, run };
        kr_pool *p = kr_pool_new(threads, prog);
        if (!p) return 1;
        for (int pass = 0; pass < 60; pass++) {
            memset(&w, 0, sizeof w);
            for (int i = 0; i < PHASES; i++) w.n[i] = rnd() % 5 ? (int)(rnd() % MOST) : (int)(rnd() % 2);
            kr_pool_run(p);
            int bad = atomic_load(&w.bad);
            for (int i = 0; i < PHASES; i++) for (int k = 0; k < MOST; k++) bad += atomic_load(&w.ran[i][k]) != (k < w.n[i]);
            fails += bad != 0;
            if (pass % 20 == 19) nanosleep(&(struct timespec){ 0, 2000000 }, NULL);     /* long enough to fall asleep */
        }
        kr_pool_free(p);
    }
    printf("pool         %s\n", fails ? "FAIL" : "ok: every chunk once, phases in order, 1 to 9 threads");
    return fails != 0;
}
