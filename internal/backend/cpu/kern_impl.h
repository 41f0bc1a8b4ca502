/* kern_impl.h - one kernel variant: included once per instruction set, after its isa_*.h, with KR_VARIANT and
 * KR_VARIANT_NAME defined. */
#include "kern.h"
#include "mat_impl.h"
#include "quant_impl.h"
#include "row_impl.h"
#include "pair_impl.h"
#include "attn_impl.h"
#include "peak_impl.h"

_Static_assert(2 * KB_MOST * sizeof(tblk) <= KR_TILE_BYTES && FK * 32 * 4 <= KR_TILE_BYTES, "tile");

#define KR_TABLE(variant, by, mm, pk) { \
    .name = variant, .few = by, .vl = VL, \
    .matmul = mm, .matmulf = matmulf, .quantize = quantize, .quantize2 = quantize2, .rmsnorm = rmsnorm, \
    .gate = gate, .add = add, .scale = scale, .softcap = softcap, \
    .kv_write = kv_write, .attention = attention, .attention_merge = attention_merge, .peak = pk, \
}
const kr_kernels KR_VARIANT = KR_TABLE(KR_VARIANT_NAME, NULL, matmul, peak);
