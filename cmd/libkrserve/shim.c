/* The public kr_* functions: NULL and struct_size checks in C, everything else in the exported krgo_*.
** Go cannot export the public names itself: cgo would declare them without const. */
#if defined(_WIN32)
#  define KR_API __declspec(dllexport)
#endif
#include "krserve.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "_cgo_export.h"
#include "shim.h"

/* 1 while this thread runs the log callback. */
static _Thread_local int in_log;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static kr_status refuse(kr_error *err, kr_status status, const char *format, ...) {
  if (err) {
    va_list args;
    err->code = status;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
  }
  return status;
}

#define ENTER(err) \
  do { \
    if (in_log) return refuse((err), KR_ERR_INVALID, "the log callback must not call the library"); \
  } while (0)

#define NEED(p, err) \
  do { \
    if (!(p)) return refuse((err), KR_ERR_INVALID, "%s: " #p " is NULL", __func__); \
  } while (0)

/* Sizes of the first published version: a caller compiled against any header has at least these. */
enum {
  FIRST_TOKENIZER_PARAMS   = 72,
  FIRST_TOKENIZER_INFO     = 88,
  FIRST_ENCODE_PARAMS      = 64,
  FIRST_ENCODING           = 104,
  FIRST_TOKENIZER_COUNTERS = 56,
  FIRST_TEMPLATE_PARAMS    = 56,
  FIRST_POOL_PARAMS        = 88,
  FIRST_POOL_COUNTERS      = 104,
  FIRST_ENGINE_PARAMS      = 128,
  FIRST_REQUEST            = 184,
  FIRST_STATS              = 128,
  FIRST_TOKEN              = 88,
  LARGEST                  = 1 << 16
};

/* Reads the first min(struct_size, size) bytes of *src into *dst and zeroes the rest. */
static kr_status params(void *dst, size_t size, uint32_t first, const void *src, const char *what, kr_error *err) {
  uint32_t n;
  if (!src) return refuse(err, KR_ERR_INVALID, "%s is NULL", what);
  memcpy(&n, src, sizeof n);
  if (n < first || n > LARGEST)
    return refuse(err, KR_ERR_INVALID, "struct_size of %s is %lu; set it to sizeof(%s), which is %lu here", what,
                  (unsigned long)n, what, (unsigned long)size);
  memset(dst, 0, size);
  memcpy(dst, src, n < size ? n : size);
  return KR_OK;
}

/* Writes *src to the caller's *dst, as far as its struct_size goes. */
static void results(void *dst, const void *src, size_t size) {
  uint32_t n;
  memcpy(&n, dst, sizeof n);
  memcpy(dst, src, n < size ? n : size);
}

/* ---- version ---- */

const char *kr_version(void) { return KR_VERSION; }
uint32_t kr_version_number(void) { return KR_VERSION_NUMBER; }
uint32_t kr_abi_version(void) { return KR_ABI_VERSION; }

const char *kr_status_name(kr_status status) {
  switch (status) {
#define NAME(s) case s: return #s
    NAME(KR_OK);
    NAME(KR_DONE);
    NAME(KR_TIMEOUT);
    NAME(KR_ERR_INVALID);
    NAME(KR_ERR_CLOSED);
    NAME(KR_ERR_BUFFER);
    NAME(KR_ERR_NOT_FOUND);
    NAME(KR_ERR_FORMAT);
    NAME(KR_ERR_UNSUPPORTED);
    NAME(KR_ERR_CONTEXT);
    NAME(KR_ERR_NO_TEMPLATE);
    NAME(KR_ERR_TEMPLATE);
    NAME(KR_ERR_MEMORY);
    NAME(KR_ERR_BACKEND);
    NAME(KR_ERR_CANCELLED);
    NAME(KR_ERR_IO);
    NAME(KR_ERR_BUSY);
    NAME(KR_ERR_INTERNAL);
#undef NAME
  }
  return "KR_UNKNOWN";
}

/* ---- tokenizer ---- */

/* Runs an open function that yields a handle, and gives it to the caller on success only. */
#define OPEN(type, out, callexpr) \
  do { \
    uintptr_t handle = 0; \
    kr_status status; \
    NEED(out, err); \
    *(out) = NULL; \
    status = (callexpr); \
    if (status == KR_OK) *(out) = (type *)handle; \
    return status; \
  } while (0)

kr_status kr_tokenizer_open(const char *path, size_t path_len, kr_tokenizer **out, kr_error *err) {
  ENTER(err);
  NEED(path, err);
  OPEN(kr_tokenizer, out, krgo_tokenizer_open((char *)path, path_len, &handle, err));
}

kr_status kr_tokenizer_open_bytes(const void *data, size_t len, kr_tokenizer **out, kr_error *err) {
  ENTER(err);
  NEED(data, err);
  OPEN(kr_tokenizer, out, krgo_tokenizer_open_bytes((void *)data, len, &handle, err));
}

kr_status kr_tokenizer_open_params(const kr_tokenizer_params *p, kr_tokenizer **out, kr_error *err) {
  kr_tokenizer_params full;
  kr_status status;
  ENTER(err);
  status = params(&full, sizeof full, FIRST_TOKENIZER_PARAMS, p, "kr_tokenizer_params", err);
  if (status != KR_OK) {
    if (out) *out = NULL;
    return status;
  }
  OPEN(kr_tokenizer, out, krgo_tokenizer_open_params(&full, &handle, err));
}

kr_status kr_tokenizer_close(kr_tokenizer *t) {
  ENTER(NULL);
  return t ? krgo_tokenizer_close((uintptr_t)t) : KR_OK;
}

kr_status kr_tokenizer_encode(kr_tokenizer *t, const char *text, size_t len, uint32_t flags, uint32_t *ids, size_t *n,
                              kr_error *err) {
  ENTER(err);
  NEED(t, err);
  NEED(n, err);
  return krgo_tokenizer_encode((uintptr_t)t, (char *)text, len, flags, ids, n, err);
}

kr_status kr_tokenizer_encode_batch(kr_tokenizer *t, const kr_str *texts, size_t n_texts, uint32_t flags,
                                    int32_t threads, uint32_t *ids, size_t *n, size_t *offsets, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  NEED(n, err);
  NEED(offsets, err);
  return krgo_tokenizer_encode_batch((uintptr_t)t, (kr_str *)texts, n_texts, flags, threads, ids, n, offsets, err);
}

kr_status kr_tokenizer_count(kr_tokenizer *t, const char *text, size_t len, uint32_t flags, size_t *n, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  NEED(n, err);
  return krgo_tokenizer_count((uintptr_t)t, (char *)text, len, flags, n, err);
}

kr_status kr_tokenizer_count_up_to(kr_tokenizer *t, const char *text, size_t len, uint32_t flags, size_t limit,
                                   size_t *n, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  NEED(n, err);
  return krgo_tokenizer_count_up_to((uintptr_t)t, (char *)text, len, flags, limit, n, err);
}

kr_status kr_tokenizer_encode_full(kr_tokenizer *t, const kr_encode_params *p, kr_encoding *out, kr_error *err) {
  kr_encode_params full;
  kr_encoding full_out;
  kr_status status;
  ENTER(err);
  NEED(t, err);
  status = params(&full, sizeof full, FIRST_ENCODE_PARAMS, p, "kr_encode_params", err);
  if (status != KR_OK) return status;
  status = params(&full_out, sizeof full_out, FIRST_ENCODING, out, "kr_encoding", err);
  if (status != KR_OK) return status;
  status = krgo_tokenizer_encode_full((uintptr_t)t, &full, &full_out, err);
  if (status == KR_OK || status == KR_ERR_BUFFER) results(out, &full_out, sizeof full_out);
  return status;
}

kr_status kr_tokenizer_stats(kr_tokenizer *t, int32_t reset, kr_tokenizer_counters *out, kr_error *err) {
  kr_tokenizer_counters full;
  kr_status status;
  ENTER(err);
  NEED(t, err);
  status = params(&full, sizeof full, FIRST_TOKENIZER_COUNTERS, out, "kr_tokenizer_counters", err);
  if (status == KR_OK) status = krgo_tokenizer_stats((uintptr_t)t, reset, &full, err);
  if (status == KR_OK) results(out, &full, sizeof full);
  return status;
}

kr_status kr_decoder_open(kr_tokenizer *t, uint32_t flags, kr_decoder **out, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  OPEN(kr_decoder, out, krgo_decoder_open((uintptr_t)t, flags, &handle, err));
}

kr_status kr_decoder_next(kr_decoder *d, const uint32_t *ids, size_t n_ids, int32_t last, char *text, size_t *len,
                          kr_error *err) {
  ENTER(err);
  NEED(d, err);
  NEED(len, err);
  return krgo_decoder_next((uintptr_t)d, (uint32_t *)ids, n_ids, last, text, len, err);
}

kr_status kr_decoder_close(kr_decoder *d) {
  ENTER(NULL);
  return d ? krgo_decoder_close((uintptr_t)d) : KR_OK;
}

kr_status kr_appender_open(kr_tokenizer *t, uint32_t flags, kr_appender **out, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  OPEN(kr_appender, out, krgo_appender_open((uintptr_t)t, flags, &handle, err));
}

kr_status kr_appender_add(kr_appender *a, const char *text, size_t len, uint32_t flags, uint64_t *mark, size_t *n_ids,
                          kr_error *err) {
  ENTER(err);
  NEED(a, err);
  return krgo_appender_add((uintptr_t)a, (char *)text, len, flags, mark, n_ids, err);
}

kr_status kr_appender_ids(kr_appender *a, size_t from, uint32_t *ids, size_t *n, kr_error *err) {
  ENTER(err);
  NEED(a, err);
  NEED(n, err);
  return krgo_appender_ids((uintptr_t)a, from, ids, n, err);
}

kr_status kr_appender_undo(kr_appender *a, uint64_t mark, size_t *n_ids, kr_error *err) {
  ENTER(err);
  NEED(a, err);
  return krgo_appender_undo((uintptr_t)a, mark, n_ids, err);
}

kr_status kr_appender_close(kr_appender *a) {
  ENTER(NULL);
  return a ? krgo_appender_close((uintptr_t)a) : KR_OK;
}

kr_status kr_tokenizer_decode(kr_tokenizer *t, const uint32_t *ids, size_t n_ids, uint32_t flags, char *text,
                              size_t *len, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  NEED(len, err);
  return krgo_tokenizer_decode((uintptr_t)t, (uint32_t *)ids, n_ids, flags, text, len, err);
}

kr_status kr_tokenizer_describe(kr_tokenizer *t, kr_tokenizer_info *out, kr_error *err) {
  kr_tokenizer_info full;
  kr_status status;
  ENTER(err);
  NEED(t, err);
  status = params(&full, sizeof full, FIRST_TOKENIZER_INFO, out, "kr_tokenizer_info", err);
  if (status == KR_OK) status = krgo_tokenizer_info((uintptr_t)t, &full, err);
  if (status == KR_OK) results(out, &full, sizeof full);
  return status;
}

kr_status kr_tokenizer_token_id(kr_tokenizer *t, const char *piece, size_t len, uint32_t *id, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  NEED(id, err);
  return krgo_tokenizer_token_id((uintptr_t)t, (char *)piece, len, id, err);
}

kr_status kr_tokenizer_piece(kr_tokenizer *t, uint32_t id, char *piece, size_t *len, int32_t *special, kr_error *err) {
  ENTER(err);
  NEED(t, err);
  NEED(len, err);
  return krgo_tokenizer_piece((uintptr_t)t, id, piece, len, special, err);
}

/* ---- chat template ---- */

kr_status kr_template_apply(kr_tokenizer *t, const kr_template_params *p, char *text, size_t *len, kr_error *err) {
  kr_template_params full;
  kr_status status;
  ENTER(err);
  NEED(t, err);
  NEED(len, err);
  status = params(&full, sizeof full, FIRST_TEMPLATE_PARAMS, p, "kr_template_params", err);
  return status == KR_OK ? krgo_template_apply((uintptr_t)t, &full, text, len, err) : status;
}

/* ---- pool ---- */

kr_status kr_pool_open(const kr_pool_params *p, kr_pool **out, kr_error *err) {
  kr_pool_params full;
  kr_status status;
  ENTER(err);
  status = params(&full, sizeof full, FIRST_POOL_PARAMS, p, "kr_pool_params", err);
  if (status != KR_OK) {
    if (out) *out = NULL;
    return status;
  }
  OPEN(kr_pool, out, krgo_pool_open(&full, &handle, err));
}

kr_status kr_pool_stats(kr_pool *p, kr_pool_counters *out, kr_error *err) {
  kr_pool_counters full;
  kr_status status;
  ENTER(err);
  NEED(p, err);
  status = params(&full, sizeof full, FIRST_POOL_COUNTERS, out, "kr_pool_counters", err);
  if (status == KR_OK) status = krgo_pool_stats((uintptr_t)p, &full, err);
  if (status == KR_OK) results(out, &full, sizeof full);
  return status;
}

kr_status kr_pool_close(kr_pool *p) {
  ENTER(NULL);
  return p ? krgo_pool_close((uintptr_t)p) : KR_OK;
}

/* ---- engine ---- */

kr_status kr_engine_open(const kr_engine_params *p, kr_engine **out, kr_error *err) {
  kr_engine_params full;
  kr_status status;
  uintptr_t tokenizer, pool;
  ENTER(err);
  status = params(&full, sizeof full, FIRST_ENGINE_PARAMS, p, "kr_engine_params", err);
  if (status != KR_OK) {
    if (out) *out = NULL;
    return status;
  }
  tokenizer = (uintptr_t)full.tokenizer; /* Go must not see an id in a pointer's place */
  full.tokenizer = NULL;
  pool = (uintptr_t)full.pool;
  full.pool = NULL;
  OPEN(kr_engine, out, krgo_engine_open(&full, tokenizer, pool, &handle, err));
}

kr_status kr_engine_close(kr_engine *e) {
  ENTER(NULL);
  return e ? krgo_engine_close((uintptr_t)e) : KR_OK;
}

kr_status kr_engine_tokenizer(kr_engine *e, kr_tokenizer **out, kr_error *err) {
  ENTER(err);
  NEED(e, err);
  OPEN(kr_tokenizer, out, krgo_engine_tokenizer((uintptr_t)e, &handle, err));
}

kr_status kr_engine_start(kr_engine *e, const kr_request *r, kr_stream **out, kr_error *err) {
  kr_request full;
  kr_status status;
  ENTER(err);
  NEED(e, err);
  status = params(&full, sizeof full, FIRST_REQUEST, r, "kr_request", err);
  if (status != KR_OK) {
    if (out) *out = NULL;
    return status;
  }
  OPEN(kr_stream, out, krgo_engine_start((uintptr_t)e, &full, &handle, err));
}

kr_status kr_engine_stats(kr_engine *e, kr_stats *out, kr_error *err) {
  kr_stats full;
  kr_status status;
  ENTER(err);
  NEED(e, err);
  status = params(&full, sizeof full, FIRST_STATS, out, "kr_stats", err);
  if (status == KR_OK) status = krgo_engine_stats((uintptr_t)e, &full, err);
  if (status == KR_OK) results(out, &full, sizeof full);
  return status;
}

/* ---- stream ---- */

kr_status kr_stream_next(kr_stream *s, kr_token *out, int32_t timeout_ms, kr_error *err) {
  kr_token full;
  kr_status status;
  ENTER(err);
  NEED(s, err);
  status = params(&full, sizeof full, FIRST_TOKEN, out, "kr_token", err);
  if (status != KR_OK) return status;
  status = krgo_stream_next((uintptr_t)s, &full, timeout_ms, err);
  results(out, &full, sizeof full);
  return status;
}

kr_status kr_stream_cancel(kr_stream *s) {
  ENTER(NULL);
  return s ? krgo_stream_cancel((uintptr_t)s) : KR_ERR_INVALID;
}

kr_status kr_stream_close(kr_stream *s) {
  ENTER(NULL);
  return s ? krgo_stream_close((uintptr_t)s) : KR_OK;
}

/* ---- log ---- */

kr_status kr_log_set(kr_log_fn fn, void *user, int32_t min_level) {
  ENTER(NULL);
  return krgo_log_set((void *)(uintptr_t)fn, user, min_level);
}

void shim_log(void *fn, void *user, int32_t level, const char *text, size_t len) {
  in_log = 1;
  ((kr_log_fn)(uintptr_t)fn)(user, level, text, len);
  in_log = 0;
}
