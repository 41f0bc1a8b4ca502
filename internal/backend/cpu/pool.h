/* pool.h - threads that run a program of phases, each a number of independent chunks.
 *
 * A phase ends when its chunks are done, not when its threads are: a thread that the system took away while it held
 * no chunk delays nobody. Threads take chunks from their own share first, then from others'. Whoever finishes a
 * phase's last chunk starts the next, and runs phases of one chunk itself. Waiting spins briefly, then sleeps. */
#ifndef KR_POOL_H
#define KR_POOL_H
#include <stdint.h>

typedef struct kr_pool kr_pool;
typedef struct {
    void *ctx;
    /* Prepares phase p and returns its number of chunks, 0 to leave it out, -1 after the last phase. */
    int (*begin)(void *ctx, int p);
    void (*run)(void *ctx, int p, int chunk, int thread);
} kr_program;

#define KR_MAX_THREADS 256
/* threads counts the caller of kr_pool_run, which works as thread 0. NULL when threads cannot be made. */
kr_pool *kr_pool_new(int threads, kr_program prog);
void kr_pool_run(kr_pool *p);        /* one pass through the program; one caller at a time */
void kr_pool_free(kr_pool *p);
#endif
