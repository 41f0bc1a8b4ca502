//go:build !purego

/* pool.c - see pool.h. */
#define _GNU_SOURCE
#include "pool.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define SPIN_NS 60000            /* how long a waiting thread spins before it sleeps */
#define RING 4
#define IDX_BITS 24
#define IDX_MASK ((1u << IDX_BITS) - 1)

typedef struct { _Alignas(64) _Atomic uint64_t w; } slot;   /* generation << IDX_BITS | next chunk */
typedef struct {
    slot share[KR_MAX_THREADS];
    _Alignas(64) _Atomic int n;
    _Atomic int phase;
    _Alignas(64) _Atomic int left;
} phase_set;

struct kr_pool {
    _Alignas(64) _Atomic uint64_t cur;     /* generation << 1 | a phase is open */
    _Alignas(64) _Atomic uint32_t gate;    /* futex word */
    _Atomic uint32_t asleep;
    _Atomic int quit;
    int threads, started;
    kr_program prog;
    pthread_t tid[KR_MAX_THREADS];
    phase_set set[RING];
#if !defined(__linux__)
    pthread_mutex_t mu;
    pthread_cond_t cond;
#endif
};

typedef struct { kr_pool *p; int t; } worker_arg;

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}
static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void wake(kr_pool *p) {
    if (!atomic_exchange(&p->asleep, 0)) return;
#if defined(__linux__)
    atomic_fetch_add(&p->gate, 1);
    syscall(SYS_futex, &p->gate, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
#else
    pthread_mutex_lock(&p->mu);
    atomic_fetch_add(&p->gate, 1);
    pthread_cond_broadcast(&p->cond);
    pthread_mutex_unlock(&p->mu);
#endif
}
static void publish(kr_pool *p, uint64_t v) {
    atomic_store(&p->cur, v);
    wake(p);
}

/* Waits until cur is no longer `seen`. */
static uint64_t wait_change(kr_pool *p, uint64_t seen) {
    uint64_t v;
    int64_t until = 0;
    for (int i = 0;; i++) {
        if ((v = atomic_load_explicit(&p->cur, memory_order_acquire)) != seen || atomic_load_explicit(&p->quit, memory_order_relaxed)) return v;
        relax();
        if (i % 64 == 63) {
            int64_t t = now_ns();
            if (!until) until = t + SPIN_NS;
            else if (t > until) break;
        }
    }
    for (;;) {
        uint32_t g = atomic_load(&p->gate);
        /* Not a store: QEMU on x86 lets the load below pass one (STLR before LDAR), and the wake-up would be lost. */
        atomic_exchange(&p->asleep, 1);
        if ((v = atomic_load(&p->cur)) != seen || atomic_load(&p->quit)) return v;
#if defined(__linux__)
        syscall(SYS_futex, &p->gate, FUTEX_WAIT_PRIVATE, g, NULL, NULL, 0);
#else
        pthread_mutex_lock(&p->mu);
        while (atomic_load(&p->gate) == g) pthread_cond_wait(&p->cond, &p->mu);
        pthread_mutex_unlock(&p->mu);
#endif
    }
}

/* Starts the phase after `phase` in generation g, or ends the pass. Called by one thread at a time. */
static void advance(kr_pool *p, uint64_t g, int phase, int t) {
    for (phase++;; phase++) {
        int n = p->prog.begin(p->prog.ctx, phase);
        if (n < 0) { publish(p, g << 1); return; }
        if (n == 1 || (n > 0 && p->threads == 1)) for (int i = 0; i < n; i++) p->prog.run(p->prog.ctx, phase, i, t);
        else if (n > 0) {
            phase_set *s = &p->set[g % RING];
            atomic_store_explicit(&s->left, n, memory_order_relaxed);
            atomic_store_explicit(&s->phase, phase, memory_order_relaxed);
            for (int i = 0; i < p->threads; i++)
                atomic_store_explicit(&s->share[i].w, g << IDX_BITS | (uint64_t)((int64_t)n * i / p->threads), memory_order_release);
            atomic_store_explicit(&s->n, n, memory_order_release);
            publish(p, g << 1 | 1);
            return;
        }
    }
}

/* Takes chunks of generation g until none is left. A set that has moved on to another generation is left alone: its
 * shares carry the generation, so no chunk of a later phase can be taken by mistake. */
static void work(kr_pool *p, uint64_t g, int t) {
    phase_set *s = &p->set[g % RING];
    const int n = atomic_load_explicit(&s->n, memory_order_acquire), T = p->threads;
    for (int k = 0; k < T; k++) {
        int v = t + k < T ? t + k : t + k - T;
        const uint64_t hi = (uint64_t)((int64_t)n * (v + 1) / T);
        uint64_t w = atomic_load_explicit(&s->share[v].w, memory_order_acquire);
        for (;;) {
            if (w >> IDX_BITS != (g & (UINT64_MAX >> IDX_BITS))) return;
            if ((w & IDX_MASK) >= hi) break;
            if (!atomic_compare_exchange_weak_explicit(&s->share[v].w, &w, w + 1, memory_order_acq_rel, memory_order_acquire)) continue;
            const int phase = atomic_load_explicit(&s->phase, memory_order_relaxed);
            p->prog.run(p->prog.ctx, phase, (int)(w & IDX_MASK), t);
            if (atomic_fetch_sub_explicit(&s->left, 1, memory_order_acq_rel) == 1) { advance(p, g + 1, phase, t); return; }
            w = atomic_load_explicit(&s->share[v].w, memory_order_acquire);
        }
    }
}

static void *worker(void *arg) {
    worker_arg a = *(worker_arg *)arg;
    uint64_t seen = 0;
    free(arg);
    for (;;) {
        uint64_t v = wait_change(a.p, seen);
        if (atomic_load(&a.p->quit)) return NULL;
        if (v & 1) work(a.p, v >> 1, a.t);
        seen = v;
    }
}

void kr_pool_run(kr_pool *p) {
    uint64_t v = atomic_load(&p->cur), g = (v >> 1) + 1;
    advance(p, g, -1, 0);
    for (;;) {
        v = atomic_load(&p->cur);
        if (!(v & 1)) return;
        work(p, v >> 1, 0);
        wait_change(p, v);
    }
}

kr_pool *kr_pool_new(int threads, kr_program prog) {
    if (threads < 1) threads = 1;
    if (threads > KR_MAX_THREADS) threads = KR_MAX_THREADS;
    kr_pool *p = NULL;
    if (posix_memalign((void **)&p, 64, sizeof *p)) return NULL;
    memset(p, 0, sizeof *p);
    p->threads = threads;
    p->prog = prog;
#if !defined(__linux__)
    pthread_mutex_init(&p->mu, NULL);
    pthread_cond_init(&p->cond, NULL);
#endif
    sigset_t all, old;                     /* signals belong to the host's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 1 << 20);
    p->started = 1;
    for (int i = 1; i < threads; i++) {
        worker_arg *a = malloc(sizeof *a);
        if (a) { a->p = p; a->t = i; }
        if (!a || pthread_create(&p->tid[i], &attr, worker, a)) { free(a); break; }
        p->started++;
    }
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (p->started < threads) { kr_pool_free(p); return NULL; }
    return p;
}

void kr_pool_free(kr_pool *p) {
    if (!p) return;
    atomic_store(&p->quit, 1);
    atomic_store(&p->asleep, 1);
    wake(p);
    for (int i = 1; i < p->started; i++) pthread_join(p->tid[i], NULL);
#if !defined(__linux__)
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->mu);
#endif
    free(p);
}
