//go:build !purego

/* step.c - a step: how phases are cut into chunks, and what a chunk does. */
#include "model_priv.h"

static inline int imin(int a, int b) { return a < b ? a : b; }
static inline int imax(int a, int b) { return a > b ? a : b; }

static inline uint8_t *at(const kr_model *m, int buf, int row, int thread) {
    const kr_buf *b = &m->p.bufs[buf];
    if (b->local) return m->scratch + (uint64_t)thread * m->local + KR_TILE_BYTES + b->off;
    return m->work + b->off + (uint64_t)row * b->stride;
}
static inline float *fat(const kr_model *m, int buf, int row, int thread) { return (float *)(void *)at(m, buf, row, thread); }
static inline int phase_rows(const kr_model *m, const kr_phase *f) { return f->sel ? m->b.nsample : m->b.rows; }

static void plan_jobs(kr_model *m, int window);

/* Weights of a chunk: small for one row, so that a lost core costs little, larger when rows share them. */
#define CHUNK_COST (12 << 10)
/* Rows from which a variant with sgemm uses it, and outputs of its chunks. */
#define SGEMM_ROWS 24
#define SGEMM_UNIT 64
static inline int by_sgemm(const kr_model *m, const kr_op *o, int rows) { return m->k->sgemm && o->x >= 0 && rows >= SGEMM_ROWS; }

/* Chunks of `unit` outputs that the matrices of a phase are cut into. */
static int count_units(const kr_model *m, const kr_phase *f, int unit) {
    int units = 0;
    for (int i = f->op0; i < f->op1; i++) units += (m->p.mats[m->p.ops[i].w].rows + unit - 1) / unit;
    return units;
}

int kr_begin(void *ctx, int p) {
    kr_model *m = ctx;
    if (p >= (m->b.hidden ? m->p.hidden_phase : m->p.nphases)) return -1;
    const kr_phase *f = &m->p.phases[p];
    const int rows = phase_rows(m, f), T = m->p.threads;
    if (rows == 0) return 0;
    if (f->kind == KR_ROWS) {
        m->per = rows <= 8 * T ? (rows + T - 1) / T : imin(rows / (8 * T) + 4, 16);
        return (rows + m->per - 1) / m->per;
    }
    if (f->kind == KR_ATTEND) {
        plan_jobs(m, m->p.ops[f->op0].window);
        return m->njobs;
    }
    uint64_t cost = 0, n = 0;
    for (int i = f->op0; i < f->op1; i++) {
        const kr_weight *w = &m->p.mats[m->p.ops[i].w];
        cost += w->stride * (uint64_t)w->rows;
        n += (uint64_t)w->rows;
    }
    cost = cost * (uint64_t)(rows + 7) / 8;
    uint64_t want = cost / CHUNK_COST + 1;
    if (want > 16u * (uint64_t)T) want = 16u * (uint64_t)T;
    /* Two strips of the widest variant, or a tile of floats, and as many of these as share out best. */
    m->unit = (int)((n + want - 1) / want + 31) / 32 * 32;
    int units = count_units(m, f, m->unit);
    if (m->unit > 32) {
        const int less = m->unit - 32, more = count_units(m, f, less);
        if ((more + T - 1) / T * less < (units + T - 1) / T * m->unit) { m->unit = less; units = more; }
    }
    if (by_sgemm(m, &m->p.ops[f->op0], rows)) units = count_units(m, f, m->unit = SGEMM_UNIT);
    m->parts = 1;
    if (units < 4 * T) m->parts = imax(1, imin(rows / 48, (4 * T + units - 1) / units));
    m->per = units;
    return units * m->parts;
}

static void run_matmul(kr_model *m, const kr_phase *f, int chunk, int t) {
    const int rows = phase_rows(m, f), part = chunk / m->per;
    int u = chunk % m->per, i = f->op0;
    const int r0 = (int)((int64_t)rows * part / m->parts), r1 = (int)((int64_t)rows * (part + 1) / m->parts);
    for (;; i++) {
        int n = (m->p.mats[m->p.ops[i].w].rows + m->unit - 1) / m->unit;
        if (u < n) break;
        u -= n;
    }
    const kr_op *o = &m->p.ops[i];
    const kr_weight *w = &m->p.mats[o->w];
    const int n0 = u * m->unit, n1 = imin(w->rows, n0 + m->unit);
    void *tile = m->scratch + (uint64_t)t * m->local;
    float *y = fat(m, o->o, r0, t);
    const size_t ldy = m->p.bufs[o->o].stride / 4, xs = m->p.bufs[o->a].stride;
    const int r = r1 - r0;
    const kr_kernels *k = m->p.picks[o->w].by[r == 1 ? KR_ONE : r < KR_MANY ? KR_FEW : KR_MANY_ROWS];
    if (by_sgemm(m, o, rows)) m->k->sgemm(w, n0, n1, fat(m, o->x, r0, t), m->p.bufs[o->x].stride / 4, r, y, ldy, tile);
    else if (w->type > KR_BF16) k->matmul(w, n0, n1, (const kr_xblk *)(const void *)at(m, o->a, r0, t), xs, r, y, ldy, tile, o->kind == KR_LINEAR_WIDE);
    else k->matmulf(w, n0, n1, fat(m, o->a, r0, t), xs / 4, r, y, ldy, tile);
}

/* Cuts attention into jobs: a tile of rows, a KV head, and, where a few long sequences would leave threads idle, a run
 * of segments. Segments' sums do not depend on the cut. */
static void plan_jobs(kr_model *m, int window) {
    if (m->jobs_window == window) return;
    m->jobs_window = window;
    const int heads = m->p.heads / m->p.kvheads, per = (heads + m->group - 1) / m->group;
    const uint64_t pad = (uint64_t)m->kv_layout.pad;
    uint64_t total = 0, used = 0;
#define SEGS(t) const int pos = m->b.pos[(t)->row], first = (window && pos >= window ? pos - window + 1 : 0) / KR_SEG, end = (pos + (t)->n - 1) / KR_SEG + 1
#define COST(t) ((uint64_t)(end - first) * (uint64_t)(16 + (t)->n * imin(m->group, heads)))
    for (const kr_tile *t = m->tiles; t < m->tiles + m->ntiles; t++) { SEGS(t); total += COST(t); }
    const uint64_t most = total * (uint64_t)(m->p.kvheads * per) / (uint64_t)(8 * m->p.threads) + 1;
    m->njobs = 0;
    for (const kr_tile *t = m->tiles; t < m->tiles + m->ntiles; t++) {
        SEGS(t);
        for (int i = 0; i < m->p.kvheads * per; i++) {
            const int g0 = i % per * m->group, nq = t->n * imin(m->group, heads - g0);
            const uint64_t need = (uint64_t)(end - first) * KR_PART((uint64_t)KR_PAD16(nq), pad);
            int pieces = imin((int)((COST(t) + most - 1) / most), end - first);
            if (m->p.threads == 1 || used + need > m->part_n || m->njobs + pieces + (m->p.rows - t->row) * m->p.kvheads * per > m->jobs_most) pieces = 1;
            kr_job j = { .tile = t, .kvh = i / per, .g0 = g0, .first = first, .end = end, .pieces = pieces };
            if (pieces > 1) { j.part = m->part + used; j.left = &m->jobs[m->njobs].count; used += need; }
            for (int k = 0; k < pieces; k++) {
                j.seg0 = first + (end - first) * k / pieces;
                j.seg1 = first + (end - first) * (k + 1) / pieces;
                j.count = pieces;
                m->jobs[m->njobs++] = j;
            }
        }
    }
}

static void run_attention(kr_model *m, const kr_phase *f, int chunk, int t) {
    const kr_op *o = &m->p.ops[f->op0];
    kr_job *j = &m->jobs[chunk];
    const int dim = m->p.dim, heads = m->p.heads / m->p.kvheads, row = j->tile->row;
    struct kr_attn a = {
        .kv = &m->kv_layout, .arena = m->arena + ((size_t)o->layer * m->p.kvheads + j->kvh) * m->kv_layout.unit, .block = m->block,
        .table = m->b.table + m->b.tab[m->b.seq[row]], .group = imin(m->group, heads - j->g0),
        .pos = m->b.pos[row], .rows = j->tile->n, .window = o->window, .scale = o->scale, .cap = o->cap,
        .seg0 = j->seg0, .seg1 = j->seg1, .first = j->first, .part = j->part,
        .qs = m->p.bufs[o->a].stride / 4, .os = m->p.bufs[o->o].stride / 4,
        .q = fat(m, o->a, row, t) + (j->kvh * heads + j->g0) * dim, .o = fat(m, o->o, row, t) + (j->kvh * heads + j->g0) * dim,
        .tile = (float *)(void *)(m->scratch + (uint64_t)(t + 1) * m->local) - KR_ATTN_FLOATS(m->kv_layout.pad),
    };
    a.tile = (float *)(void *)((uintptr_t)a.tile & ~(uintptr_t)63);
    m->k->attention(&a);
    if (!j->part || atomic_fetch_sub(j->left, 1) != 1) return;
    atomic_store(j->left, j->pieces);              /* the last piece merges, and the next layer counts again */
    a.seg0 = j->first;
    a.seg1 = j->end;
    m->k->attention_merge(&a);
}

static void kv_write(const kr_model *m, const kr_op *o, int row, int t) {
    const int pos = m->b.pos[row];
    const uint32_t id = m->b.table[m->b.tab[m->b.seq[row]] + (uint64_t)(pos / 32)];
    uint8_t *u = m->arena + id * m->block + (size_t)o->layer * m->p.kvheads * m->kv_layout.unit;
    const float *k = fat(m, o->a, row, t), *v = fat(m, o->b, row, t);
    float *tmp = (float *)(void *)(m->scratch + (uint64_t)t * m->local);
    for (int i = 0; i < m->p.kvheads; i++, u += m->kv_layout.unit, k += m->p.dim, v += m->p.dim) m->k->kv_write(&m->kv_layout, u, pos % 32, k, v, tmp);
}

static void rope(const kr_rope *r, const float *tab, const float *x, float *o, int n, int dim) {
    const int half = r->dims / 2;
    const float *c = tab, *s = tab + half;
    for (int h = 0; h < n; h += dim, x += dim, o += dim) {
        if (r->interleaved)
            for (int i = 0; i < half; i++) {
                float a = x[2 * i], b = x[2 * i + 1];
                o[2 * i] = a * c[i] - b * s[i];
                o[2 * i + 1] = a * s[i] + b * c[i];
            }
        else
            for (int i = 0; i < half; i++) {
                float a = x[i], b = x[half + i];
                o[i] = a * c[i] - b * s[i];
                o[half + i] = a * s[i] + b * c[i];
            }
        if (o != x) for (int i = r->dims; i < dim; i++) o[i] = x[i];
    }
}
static void rope_table(const kr_rope *r, int pos, float *tab) {
    const int half = r->dims / 2;
    for (int i = 0; i < half; i++) {
        double a = (double)pos * (double)r->freqs[i];
        tab[i] = (float)cos(a) * r->mscale;
        tab[half + i] = (float)sin(a) * r->mscale;
    }
}

/* A row of a matrix that may be packed for its matmuls too; then nothing else need be in memory. */
static void embed(const kr_model *m, const kr_weight *w, size_t r, float *o, int t) {
    kr_weight row = *w;
    if (w->packed && w->stride <= KR_TILE_BYTES) {
        uint8_t *bytes = m->scratch + (uint64_t)t * m->local;
        kr_packed_row(w, r, bytes);
        row.data = bytes;
        if (w->scales) { row.scales += r * w->astride; row.biases += r * w->astride; }
        r = 0;
    }
    kr_dequant_row(&row, r, o);
}

static void run_row(const kr_model *m, const kr_op *o, int row, int mrow, int t) {
    const kr_kernels *k = m->k;
    const float *a = o->a >= 0 ? fat(m, o->a, row, t) : NULL, *b = o->b >= 0 ? fat(m, o->b, row, t) : NULL;
    float *y = o->o >= 0 ? fat(m, o->o, row, t) : NULL;
    switch (o->kind) {
    case KR_ROPETAB: rope_table(&m->p.ropes[o->w], m->b.pos[mrow], y); break;
    case KR_EMBED:
        embed(m, &m->p.mats[o->w], m->b.tokens[mrow], y, t);
        if (o->scale != 1) k->scale(y, o->scale, y, o->n);
        break;
    case KR_NORM: k->rmsnorm(a, o->w >= 0 ? m->p.vecs[o->w] : NULL, y, o->n, o->dim, o->eps); break;
    case KR_ROPE: rope(&m->p.ropes[o->w], fat(m, m->p.ropes[o->w].tab, mrow, t), a, y, o->n, o->dim); break;
    case KR_KVWRITE: kv_write(m, o, row, t); break;
    case KR_GATE: k->gate(a, b, y, o->n, o->act); break;
    case KR_ADD: k->add(a, b, y, o->n); break;
    case KR_BIAS: k->add(a, m->p.vecs[o->w], y, o->n); break;
    case KR_SCALE: k->scale(a, o->scale, y, o->n); break;
    case KR_SOFTCAP: k->softcap(a, o->cap, y, o->n); break;
    case KR_SELECT: memcpy(y, fat(m, o->a, mrow, t), 4 * (size_t)o->n); break;
    case KR_QUANT_WIDE: k->quantize2(a, o->n, (kr_xblk2 *)(void *)y); break;
    case KR_QUANT: k->quantize(a, o->n, (kr_xblk *)(void *)y); break;
    }
}

void kr_run(void *ctx, int p, int chunk, int t) {
    kr_model *m = ctx;
    const kr_phase *f = &m->p.phases[p];
    if (f->kind == KR_MATMUL) { run_matmul(m, f, chunk, t); return; }
    if (f->kind == KR_ATTEND) { run_attention(m, f, chunk, t); return; }
    const int r0 = chunk * m->per, r1 = imin(phase_rows(m, f), r0 + m->per);
    for (int r = r0; r < r1; r++)
        for (int i = f->op0; i < f->op1; i++) run_row(m, &m->p.ops[i], r, f->sel ? m->b.sample[r] : r, t);
}

const float *kr_step(kr_model *m) {
    const kr_batch *b = &m->b;
    const int heads = m->p.kvheads ? m->p.heads / m->p.kvheads : 1;
    const int most = imax(1, imin(KR_ATTN_ROWS, KR_ATTN_QROWS / imin(m->group, imax(1, heads))));
    m->ntiles = 0;
    m->jobs_window = -1;
    for (int r = 0, n; r < b->rows; r += n) {
        for (n = 1; r + n < b->rows && n < most && b->seq[r + n] == b->seq[r]; n++) {}
        m->tiles[m->ntiles++] = (kr_tile){ r, n };
        const uint32_t *table = b->table + b->tab[b->seq[r]];
        for (int i = b->pos[r] / 32; i <= (b->pos[r] + n - 1) / 32; i++) kr_touch(m, table[i]);
    }
    kr_trim(m);
    kr_pool_run(m->pool);
    float *out = fat(m, m->p.logits, 0, 0);            /* room for rows of vocab or width */
    if (!b->hidden) {
        const size_t row = 4 * (size_t)m->p.vocab;
        if (m->p.bufs[m->p.logits].stride != row)      /* close the padding between rows */
            for (int i = 1; i < b->nsample; i++) memmove(out + (size_t)i * (size_t)m->p.vocab, fat(m, m->p.logits, i, 0), row);
        return out;
    }
    for (int i = 0; i < b->nsample; i++)
        memmove(out + (size_t)i * (size_t)m->p.width, fat(m, m->p.hidden, m->p.hidden_sel ? i : b->sample[i], 0), 4 * (size_t)m->p.width);
    return out;
}
