/* kern.h - what a kernel variant offers; one table per instruction set, all giving the same bits. */
#ifndef KR_KERN_H
#define KR_KERN_H
#include "quant.h"

struct kr_attn;
struct kr_kv;

/* Scratch that a thread needs for matmuls, in bytes. */
#define KR_TILE_BYTES (128 * 1024)

typedef struct kr_kernels {
    const char *name;
    const struct kr_kernels *few;                 /* the variant that does matmuls of few rows for this one, or NULL */
    int vl;                                       /* rows that a matmul strip must be a multiple of */
    /* y[r*ldy + n] for n in [n0,n1), r in [0,m): n0 a multiple of vl; x rows are xs bytes apart, of kr_xblk2 where wide. */
    void (*matmul)(const kr_weight *w, int n0, int n1, const kr_xblk *x, size_t xs, int m, float *y, size_t ldy, void *tile, int wide);
    void (*matmulf)(const kr_weight *w, int n0, int n1, const float *x, size_t xs, int m, float *y, size_t ldy, void *tile);
    /* The same over weights of any type and float activations, in no fixed order; NULL but in accel.c. */
    void (*sgemm)(const kr_weight *w, int n0, int n1, const float *x, size_t xs, int m, float *y, size_t ldy, void *tile);
    /* Row operations. Buffers are readable and writable up to the next multiple of 16 elements. */
    void (*quantize)(const float *x, int n, kr_xblk *o);        /* n a multiple of 32 */
    void (*quantize2)(const float *x, int n, kr_xblk2 *o);
    void (*rmsnorm)(const float *x, const float *w, float *o, int n, int dim, float eps);
    void (*gate)(const float *a, const float *b, float *o, int n, int gelu);
    void (*add)(const float *a, const float *b, float *o, int n);
    void (*scale)(const float *a, float s, float *o, int n);
    void (*softcap)(const float *a, float cap, float *o, int n);
    /* One position's key and value of one head into slot `slot` of a unit; t has 2 floats per element. */
    void (*kv_write)(const struct kr_kv *y, uint8_t *unit, int slot, const float *k, const float *v, float *t);
    void (*attention)(const struct kr_attn *a);
    void (*attention_merge)(const struct kr_attn *a);
    double (*peak)(void);                         /* see peak_impl.h */
} kr_kernels;

/* tune.c */
double kr_now(void);                              /* seconds of a steady clock */
double kr_read_speed(const uint8_t *p, uint64_t n);
double kr_time_matmul(const kr_kernels *k, const kr_weight *w, int n, int m, int wide, int reps);
double kr_peak(const kr_kernels *k);

/* Numbers of internal/backend.KVType. */
enum { KR_KV_F16, KR_KV_Q8, KR_KV_Q4 };
/* A unit: keys and values of one layer and head in one block of 32 positions. Elements are padded to 32.
 * F16: K [pad][32], V [32][pad], then per key the largest |x| of each.
 * Q8: the same in int8, scales [pad/32][32] as half floats.
 * Q4: keys and values rotated by a Hadamard matrix of rot; K [pad/2][32], low nibble the even element; V [32][pad/2],
 *     element i of a group of 32 beside i+16; scales as Q8; x = d*(code - 8). */
typedef struct kr_kv {
    int type, dim, pad, groups, rot;          /* groups of elements that have scales of their own */
    size_t v, ks, vs, unit;                   /* offsets: values, scales of keys and values; size */
} kr_kv;
static inline kr_kv kr_kv_layout(int type, int dim) {
    kr_kv y = { .type = type, .dim = dim, .pad = (dim + 31) / 32 * 32 };
    y.groups = type == KR_KV_F16 ? 1 : y.pad / 32;
    y.rot = y.pad & -y.pad;
    y.v = (size_t)y.pad * (type == KR_KV_F16 ? 64 : type == KR_KV_Q8 ? 32 : 16);
    y.ks = 2 * y.v;
    y.vs = y.ks + 64 * (size_t)y.groups;
    y.unit = y.vs + 64 * (size_t)y.groups;
    return y;
}

/* One KV head against a run of consecutive rows of one sequence. */
struct kr_attn {
    const kr_kv *kv;
    const uint8_t *arena;           /* block id's unit of this layer and head: arena + id*block */
    size_t block;
    const uint32_t *table;
    int group;                      /* query heads of this KV head */
    int pos, rows, window;          /* first row's position */
    int seg0, seg1, first;          /* segments to do; the one that part begins with */
    float scale, cap;
    const float *q; size_t qs;      /* row r, head g: q + r*qs + g*dim */
    float *o; size_t os;
    float *part;                    /* KR_PART floats per segment, or NULL */
    float *tile;                    /* KR_ATTN_FLOATS(pad) floats, 64-aligned */
};
#define KR_ATTN_ROWS 32             /* query rows x heads handled at once is at most KR_ATTN_QROWS */
#define KR_ATTN_QROWS 96
#define KR_PAD16(n) (((n) + 15) / 16 * 16)
#define KR_PAD32(n) (((n) + 31) / 32 * 32)
#define KR_PART(ld, pad) ((ld) * ((pad) + 2))
/* See layout in attn_impl.h. */
#define KR_ATTN_FLOATS(pad) ((size_t)(pad) * 38 + KR_ATTN_QROWS * ((size_t)(pad) * 7 / 2 + 48) + 512)
#ifndef KR_SEG                      /* bench/invariance.py measures others */
#define KR_SEG 256                  /* positions per partial softmax, aligned to absolute multiples */
#endif

/* Linux hands out AMX tiles; compilers that know them. */
#if defined(__x86_64__) && defined(__linux__)
#if defined(__clang__) ? __clang_major__ >= 11 : __GNUC__ >= 11
#define KR_AMX 1
#endif
#endif
/* Asks the system for the tiles, for the whole process. 0: they are not to be had. */
int kr_amx_permit(void);

extern const kr_kernels kr_generic;
#if defined(KR_AMX)
extern const kr_kernels kr_amxint8;
#endif
#if defined(__x86_64__)
extern const kr_kernels kr_avx2, kr_avxvnni, kr_avx512vnni;
#elif defined(__aarch64__)
extern const kr_kernels kr_neon, kr_dotprod, kr_i8mm;
#endif
/* Loops over registers, to be unrolled entirely; portable C leaves that to the compiler. */
#if defined(KR_SCALAR_UNPACK) || defined(__SANITIZE_ADDRESS__)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The variants compiled in, and whether this machine can run one; NULL-terminated. */
extern const kr_kernels *const kr_variants[];
#endif
