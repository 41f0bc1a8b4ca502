/* model_priv.h - what model.c and step.c share. */
#ifndef KR_MODEL_PRIV_H
#define KR_MODEL_PRIV_H
#include "model.h"
#include "pool.h"
#include <stdatomic.h>

typedef struct { int32_t row, n; } kr_tile;      /* consecutive rows of one sequence */

/* Part of an attention: segments [seg0, seg1) of [first, end). Pieces of one tile and head count down together. */
typedef struct {
    const kr_tile *tile;
    int32_t kvh, g0, first, end, seg0, seg1, pieces;
    _Atomic int32_t count, *left;
    float *part;
} kr_job;

struct kr_model {
    kr_plan p;
    const kr_kernels *k;
    kr_pool *pool;
    uint8_t *work, *arena, *scratch, *touched;
    uint64_t work_n, arena_n, scratch_n, table_n;
    uint64_t block, local;                        /* strides */
    uint64_t kv;                                  /* bytes committed */
    int32_t last_sample, group;
    kr_batch b;
    kr_tile *tiles;
    int32_t ntiles;
    kr_kv kv_layout;
    kr_job *jobs;
    int32_t njobs, jobs_most, jobs_window;
    float *part;                                  /* sums of segments that are computed apart */
    uint64_t part_n;
    /* how the open phase is cut */
    int32_t unit, parts, per;
};

int kr_begin(void *ctx, int p);
void kr_run(void *ctx, int p, int chunk, int thread);
void kr_trim(kr_model *m);
#endif
