/* model.h - a loaded program: what Go hands to C and calls. Everything is checked on the Go side; C trusts it. */
#ifndef KR_MODEL_H
#define KR_MODEL_H
#include "kern.h"

enum kr_opkind { KR_ROPETAB, KR_EMBED, KR_NORM, KR_ROPE, KR_KVWRITE, KR_GATE, KR_ADD, KR_SCALE, KR_SOFTCAP, KR_SELECT, KR_BIAS, KR_QUANT, KR_QUANT_WIDE, KR_LINEAR, KR_LINEAR_WIDE, KR_ATTN };
enum kr_phasekind { KR_ROWS, KR_MATMUL, KR_ATTEND };

/* a, b, o: indices of buffers; w: index of a matrix (EMBED, LINEAR), of a vector (NORM, BIAS) or of a rope. */
typedef struct {
    int32_t kind, a, b, o, w, n, dim, layer, window, act, x;     /* x: the floats of a LINEAR whose a is quantised, or -1 */
    float eps, scale, cap;
} kr_op;
/* Operations [op0, op1) run together; over sampled rows where sel is set. */
typedef struct { int32_t kind, op0, op1, sel; } kr_phase;
/* Row r lies at off + r*stride of the work area, or at off of the thread's own scratch. Units are bytes. */
typedef struct { uint64_t off; uint32_t stride; int32_t local; } kr_buf;
typedef struct { const float *freqs; int32_t dims, interleaved, tab; float mscale; } kr_rope;

/* Variants of equal bits that are fastest for one row, for a few, and for KR_MANY and more. */
enum { KR_ONE, KR_FEW, KR_MANY_ROWS, KR_PICKS };
#define KR_MANY 16
typedef struct { const kr_kernels *by[KR_PICKS]; } kr_pick;

typedef struct {
    kr_op *ops; kr_phase *phases; kr_buf *bufs; kr_weight *mats; float **vecs; kr_rope *ropes;   /* calloc'ed, freed by kr_free */
    kr_pick *picks;                        /* of each of mats */
    int32_t nphases, nvecs, hidden_phase;  /* phases to run when hidden states are wanted */
    int32_t logits, hidden;                /* buffers; hidden_sel: its rows are the sampled ones */
    int32_t hidden_sel, vocab, width;
    int32_t rows, blocks, threads, layers, heads, kvheads, dim, kv;   /* kv: storage type */
    uint64_t work, local, block;           /* bytes: work area, scratch per thread, one KV block of all layers */
} kr_plan;

typedef struct kr_model kr_model;

/* The batch of the next step, in arrays of the model: tokens, pos, seq of `rows`; tables one after another, sequence
 * s at table + tab[s]; sample. */
typedef struct {
    uint32_t *tokens, *table;
    int32_t *pos, *seq, *sample;
    uint64_t *tab;
    int32_t rows, nsample, hidden;
} kr_batch;

/* NULL on failure, with the bytes that were wanted in *need and what they were for in *what. Takes the plan's arrays. */
kr_model *kr_load(const kr_plan *p, const kr_kernels *k, uint64_t *need, const char **what);
kr_batch *kr_model_batch(kr_model *m, uint64_t tables);      /* room for that many block ids; NULL when there is no memory */
/* Runs the batch; returns nsample rows of vocab (or width) floats. */
const float *kr_step(kr_model *m);
uint8_t *kr_block(kr_model *m, uint32_t id);
int kr_release(kr_model *m, uint32_t id);
void kr_touch(kr_model *m, uint32_t id);
uint64_t kr_kv_bytes(const kr_model *m);
void kr_free(kr_model *m);
#endif
