//go:build !purego

/* model.c - memory and life of a loaded program. */
#define _GNU_SOURCE
#include "model_priv.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

/* Address space; the system commits a page when it is first written. */
static void *reserve(uint64_t n) {
    if (n > SIZE_MAX / 2) return NULL;
    void *p = mmap(NULL, n ? (size_t)n : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}
static void discard(void *p, size_t n) {
#if defined(__linux__)
    madvise(p, n, MADV_DONTNEED);
#else
    mmap(p, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
#endif
}

kr_model *kr_load(const kr_plan *pl, const kr_kernels *k, uint64_t *need, const char **what) {
    kr_model *m = NULL;
    *need = sizeof *m;
    *what = "model";
    if (posix_memalign((void **)&m, 64, sizeof *m)) return NULL;
    memset(m, 0, sizeof *m);
    m->p = *pl;
    m->k = k;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const int gsplit = pl->kvheads ? pl->heads / pl->kvheads : 1;
    m->group = gsplit < KR_ATTN_QROWS ? gsplit : KR_ATTN_QROWS;
    m->kv_layout = kr_kv_layout(pl->kv, pl->dim);
    *what = "block layout"; *need = m->kv_layout.unit * (uint64_t)pl->layers * (uint64_t)pl->kvheads;
    if (*need != pl->block) goto fail;             /* the two sides disagree */
    m->block = (pl->block + page - 1) / page * page;
    m->local = KR_TILE_BYTES + (pl->local + 63) / 64 * 64 + KR_ATTN_FLOATS(m->kv_layout.pad) * 4;
    m->local = (m->local + page - 1) / page * page;
    const uint64_t rows = (uint64_t)pl->rows;
    *what = "work area"; *need = pl->work;
    /* the activations before the logits are all written by a full step */
    const long ram = sysconf(_SC_PHYS_PAGES);
    if (ram > 0 && pl->bufs[pl->logits].off > (uint64_t)ram * page) goto fail;
    if (!(m->work = reserve(m->work_n = pl->work))) goto fail;
    *what = "keys and values"; *need = m->block * (uint64_t)pl->blocks;
    if (pl->blocks && m->block > UINT64_MAX / 4 / (uint64_t)pl->blocks) goto fail;
    if (!(m->arena = reserve(m->arena_n = *need))) goto fail;
    *what = "thread scratch"; *need = m->local * (uint64_t)pl->threads;
    if (!(m->scratch = reserve(m->scratch_n = *need))) goto fail;
    const uint64_t per = (uint64_t)pl->kvheads * (uint64_t)((gsplit + m->group - 1) / m->group), part = KR_PART((uint64_t)KR_PAD16(m->group), (uint64_t)m->kv_layout.pad);
    m->part_n = ((uint64_t)pl->blocks / (KR_SEG / 32) + 1) * per * part + ((uint64_t)pl->threads << 16);    /* one sequence in all blocks */
    *what = "partial sums"; *need = 4 * m->part_n;
    if (!(m->part = reserve(4 * m->part_n))) goto fail;
    *what = "attention jobs"; *need = (rows * per + 32 * (uint64_t)pl->threads) * sizeof *m->jobs;
    if (*need / sizeof *m->jobs > INT32_MAX / 2 || !(m->jobs = calloc(1, *need))) goto fail;
    m->jobs_most = (int32_t)(*need / sizeof *m->jobs);
    *what = "batch"; *need = rows * 64 + (uint64_t)pl->blocks;
    m->b.tokens = calloc(rows + 1, 4); m->b.pos = calloc(rows + 1, 4); m->b.seq = calloc(rows + 1, 4);
    m->b.sample = calloc(rows + 1, 4); m->b.tab = calloc(rows + 1, 8);
    m->tiles = calloc(rows + 1, sizeof *m->tiles);
    m->touched = calloc((size_t)pl->blocks + 1, 1);
    if (!m->b.tokens || !m->b.pos || !m->b.seq || !m->b.sample || !m->b.tab || !m->tiles || !m->touched) goto fail;
    *what = "threads"; *need = (uint64_t)pl->threads << 20;
    kr_program prog = { m, kr_begin, kr_run };
    if (!(m->pool = kr_pool_new(pl->threads, prog))) goto fail;
    return m;
fail:
    memset(&m->p, 0, sizeof m->p);        /* the plan's arrays stay with the caller */
    kr_free(m);
    return NULL;
}

void kr_free(kr_model *m) {
    if (!m) return;
    kr_pool_free(m->pool);
    if (m->work) munmap(m->work, m->work_n ? (size_t)m->work_n : 1);
    if (m->arena) munmap(m->arena, m->arena_n ? (size_t)m->arena_n : 1);
    if (m->scratch) munmap(m->scratch, m->scratch_n ? (size_t)m->scratch_n : 1);
    free(m->b.tokens); free(m->b.pos); free(m->b.seq); free(m->b.sample); free(m->b.tab); free(m->b.table);
    if (m->part) munmap(m->part, (size_t)(4 * m->part_n));
    free(m->jobs); free(m->tiles); free(m->touched);
    for (int i = 0; i < m->p.nvecs; i++) free(m->p.vecs[i]);
    free(m->p.ops); free(m->p.phases); free(m->p.bufs); free(m->p.mats); free(m->p.vecs); free(m->p.ropes); free(m->p.picks);
    free(m);
}

kr_batch *kr_model_batch(kr_model *m, uint64_t tables) {
    if (tables > m->table_n) {
        uint64_t n = tables + tables / 2 + 64;
        uint32_t *t = realloc(m->b.table, n * 4);
        if (!t) return NULL;
        m->b.table = t;
        m->table_n = n;
    }
    return &m->b;
}

uint8_t *kr_block(kr_model *m, uint32_t id) { return m->arena + (uint64_t)id * m->block; }
void kr_touch(kr_model *m, uint32_t id) {
    if (!m->touched[id]) { m->touched[id] = 1; m->kv += m->block; }
}
int kr_release(kr_model *m, uint32_t id) {
    if (m->touched[id]) {
        discard(kr_block(m, id), m->block);
        m->touched[id] = 0;
        m->kv -= m->block;
    }
    return 0;
}
uint64_t kr_kv_bytes(const kr_model *m) { return m->kv; }

/* Logits of a big step are given back before the next small one. */
void kr_trim(kr_model *m) {
    const kr_buf *o = &m->p.bufs[m->p.logits];
    const uint64_t page = 1 << 16, keep = (o->off + (uint64_t)o->stride * (uint64_t)m->b.nsample + page - 1) / page * page;
    const uint64_t end = o->off + (uint64_t)o->stride * (uint64_t)m->last_sample;
    if (end > keep + (16u << 20)) discard(m->work + keep, (end - keep) / page * page);
    m->last_sample = m->b.nsample;
}
