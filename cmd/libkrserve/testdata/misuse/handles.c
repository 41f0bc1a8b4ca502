#include "misuse.h"

/* Every function that takes a handle, with one that is wrong in a given way: all must answer `want`. */
static void tokenizer_calls(kr_tokenizer *t, kr_status want) {
  kr_error err;
  uint32_t ids[4], id = 0;
  size_t n = 4, offsets[2];
  char text[16];
  kr_str texts[1];
  kr_tokenizer_info info = {0};
  kr_template_params p = {0};
  kr_encode_params ep = {0};
  kr_encoding e = {0};
  kr_tokenizer_counters c = {0};
  kr_decoder *d = (kr_decoder *)&err;
  kr_appender *a = (kr_appender *)&err;
  ep.struct_size = sizeof ep;
  e.struct_size = sizeof e;
  c.struct_size = sizeof c;
  texts[0] = str("a");
  info.struct_size = sizeof info;
  p.struct_size = sizeof p;
  STATUS(want, kr_tokenizer_encode(t, "a", 1, 0, ids, &n, &err));
  STATUS(want, kr_tokenizer_encode_batch(t, texts, 1, 0, 0, ids, &n, offsets, &err));
  STATUS(want, kr_tokenizer_count(t, "a", 1, 0, &n, &err));
  STATUS(want, kr_tokenizer_decode(t, ids, 0, 0, text, &n, &err));
  STATUS(want, kr_tokenizer_describe(t, &info, &err));
  STATUS(want, kr_tokenizer_token_id(t, "a", 1, &id, &err));
  STATUS(want, kr_tokenizer_piece(t, 0, text, &n, NULL, &err));
  STATUS(want, kr_template_apply(t, &p, text, &n, &err));
  STATUS(want, kr_tokenizer_count_up_to(t, "a", 1, 0, 5, &n, &err));
  STATUS(want, kr_tokenizer_encode_full(t, &ep, &e, &err));
  STATUS(want, kr_tokenizer_stats(t, 0, &c, &err));
  STATUS(want, kr_decoder_open(t, 0, &d, &err));
  STATUS(want, kr_appender_open(t, 0, &a, &err));
  if (want != KR_ERR_INVALID || t != NULL) CHECK(d == NULL && a == NULL);
  PLAIN(want, kr_tokenizer_encode(t, "a", 1, 0, ids, &n, NULL)); /* err may be NULL, always */
}

static void engine_calls(kr_engine *e, kr_status want) {
  kr_error err;
  kr_tokenizer *t = (kr_tokenizer *)&err;
  kr_stream *s = (kr_stream *)&err;
  kr_request r = {0};
  kr_stats stats = {0};
  r.struct_size = sizeof r;
  r.raw = str("a");
  stats.struct_size = sizeof stats;
  STATUS(want, kr_engine_tokenizer(e, &t, &err));
  STATUS(want, kr_engine_stats(e, &stats, &err));
  STATUS(want, kr_engine_start(e, &r, &s, &err));
  PLAIN(want, kr_engine_start(e, &r, &s, NULL));
  if (want != KR_ERR_INVALID || e != NULL) CHECK(t == NULL && s == NULL); /* a failure leaves no handle */
}

static void stream_calls(kr_stream *s, kr_status want) {
  kr_error err;
  kr_token tok = {0};
  tok.struct_size = sizeof tok;
  STATUS(want, kr_stream_next(s, &tok, 0, &err));
  PLAIN(want, kr_stream_next(s, &tok, -1, NULL));
  PLAIN(want, kr_stream_cancel(s));
}

static void incremental_calls(void *h, kr_status want) {
  kr_error err;
  uint32_t ids[4] = {0};
  size_t n = 4;
  char text[16];
  STATUS(want, kr_decoder_next((kr_decoder *)h, ids, 1, 0, text, &n, &err));
  STATUS(want, kr_appender_add((kr_appender *)h, "a", 1, 0, NULL, &n, &err));
  STATUS(want, kr_appender_ids((kr_appender *)h, 0, ids, &n, &err));
  STATUS(want, kr_appender_undo((kr_appender *)h, 1, &n, &err));
  PLAIN(want, kr_appender_undo((kr_appender *)h, 1, NULL, NULL));
  if (h != NULL) {
    PLAIN(want, kr_decoder_close((kr_decoder *)h));
    PLAIN(want, kr_appender_close((kr_appender *)h));
  }
}

void case_handles(void) { /* NULL */
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  uint32_t id;
  size_t n = 0;
  tokenizer_calls(NULL, KR_ERR_INVALID);
  engine_calls(NULL, KR_ERR_INVALID);
  stream_calls(NULL, KR_ERR_INVALID);
  incremental_calls(NULL, KR_ERR_INVALID);
  PLAIN(KR_OK, kr_decoder_close(NULL));
  PLAIN(KR_OK, kr_appender_close(NULL));
  PLAIN(KR_OK, kr_tokenizer_close(NULL));
  PLAIN(KR_OK, kr_engine_close(NULL));
  PLAIN(KR_OK, kr_stream_close(NULL));
  /* and NULL in every other place */
  STATUS(KR_ERR_INVALID, kr_tokenizer_open(NULL, 3, &t, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_open("x", 1, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_bytes(NULL, 3, &t, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_bytes("x", 1, NULL, &err));
  t = open_tokenizer();
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode(t, "a", 1, 0, NULL, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode(t, NULL, 1, 0, NULL, &n, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_count(t, "a", 1, 0, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_decode(t, NULL, 1, 0, NULL, &n, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_decode(t, &id, 0, 0, NULL, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_describe(t, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_token_id(t, NULL, 1, &id, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_token_id(t, "a", 1, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_piece(t, 0, NULL, NULL, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_template_apply(t, NULL, NULL, &n, &err));
  STATUS(KR_ERR_INVALID, kr_engine_open(NULL, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_count_up_to(t, "a", 1, 0, 5, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_count_up_to(t, NULL, 1, 0, 5, &n, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, NULL, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_stats(t, 0, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_decoder_open(t, 0, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_appender_open(t, 0, NULL, &err));
  n = 9;
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode(t, "abc", 3, 0, NULL, &n, &err)); /* a capacity without a buffer */
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

void case_foreign(void) {
  kr_tokenizer *t = open_tokenizer();
  kr_engine *e = open_engine();
  kr_stream *s = start(e, "One, two,", 4);
  int local;
  void *heap = malloc(64);
  const uintptr_t numbers[] = {1, 5, 0x15, 0x105, 0x100000e5, (uintptr_t)&local, (uintptr_t)heap, (uintptr_t)&case_foreign,
                               UINTPTR_MAX, UINTPTR_MAX - 10, (uintptr_t)t + 1, (uintptr_t)t + 256, (uintptr_t)t ^ 0xf0,
                               (uintptr_t)t | (uintptr_t)1 << 60, (uintptr_t)0xc000000000};
  size_t i;
  for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    tokenizer_calls((kr_tokenizer *)numbers[i], KR_ERR_INVALID);
    engine_calls((kr_engine *)numbers[i], KR_ERR_INVALID);
    stream_calls((kr_stream *)numbers[i], KR_ERR_INVALID);
    incremental_calls((void *)numbers[i], KR_ERR_INVALID);
    PLAIN(KR_ERR_INVALID, kr_tokenizer_close((kr_tokenizer *)numbers[i]));
    PLAIN(KR_ERR_INVALID, kr_engine_close((kr_engine *)numbers[i]));
    PLAIN(KR_ERR_INVALID, kr_stream_close((kr_stream *)numbers[i]));
  }
  /* a live handle of another kind */
  tokenizer_calls((kr_tokenizer *)e, KR_ERR_INVALID);
  tokenizer_calls((kr_tokenizer *)s, KR_ERR_INVALID);
  engine_calls((kr_engine *)t, KR_ERR_INVALID);
  engine_calls((kr_engine *)s, KR_ERR_INVALID);
  stream_calls((kr_stream *)t, KR_ERR_INVALID);
  stream_calls((kr_stream *)e, KR_ERR_INVALID);
  incremental_calls(t, KR_ERR_INVALID);
  incremental_calls(s, KR_ERR_INVALID);
  PLAIN(KR_ERR_INVALID, kr_tokenizer_close((kr_tokenizer *)e));
  PLAIN(KR_ERR_INVALID, kr_engine_close((kr_engine *)s));
  PLAIN(KR_ERR_INVALID, kr_stream_close((kr_stream *)t));
  { /* a foreign tokenizer inside params */
    kr_error err;
    kr_engine *e2 = NULL;
    kr_engine_params p = {0};
    p.struct_size = sizeof p;
    p.model = str(model_path);
    p.tokenizer = (kr_tokenizer *)e;
    STATUS(KR_ERR_INVALID, kr_engine_open(&p, &e2, &err));
    p.tokenizer = (kr_tokenizer *)heap;
    STATUS(KR_ERR_INVALID, kr_engine_open(&p, &e2, &err));
    CHECK(e2 == NULL);
  }
  /* the live ones have come through */
  PLAIN(KR_OK, kr_stream_close(s));
  PLAIN(KR_OK, kr_engine_close(e));
  PLAIN(KR_OK, kr_tokenizer_close(t));
  free(heap);
}

void case_stale(void) {
  kr_tokenizer *t = open_tokenizer(), *own;
  kr_engine *e = open_engine();
  kr_stream *s = start(e, "One, two,", 4);
  kr_error err;
  int i;
  STATUS(KR_OK, kr_engine_tokenizer(e, &own, &err));
  PLAIN(KR_OK, kr_stream_close(s));
  stream_calls(s, KR_ERR_CLOSED);
  PLAIN(KR_ERR_CLOSED, kr_stream_close(s));
  PLAIN(KR_OK, kr_engine_close(e));
  engine_calls(e, KR_ERR_CLOSED);
  PLAIN(KR_ERR_CLOSED, kr_engine_close(e));
  PLAIN(KR_OK, kr_tokenizer_close(t));
  tokenizer_calls(t, KR_ERR_CLOSED);
  PLAIN(KR_ERR_CLOSED, kr_tokenizer_close(t));
  { /* the engine's tokenizer outlives the engine */
    uint32_t ids[8];
    size_t n = 8;
    STATUS(KR_OK, kr_tokenizer_encode(own, "a", 1, 0, ids, &n, &err));
    CHECK(n == 1);
    PLAIN(KR_OK, kr_tokenizer_close(own));
  }
  for (i = 0; i < 50; i++) { /* old ids stay dead while their slots are used again */
    kr_tokenizer *again = open_tokenizer();
    CHECK(again != t && (void *)again != (void *)e && (void *)again != (void *)s);
    tokenizer_calls(t, KR_ERR_CLOSED);
    PLAIN(KR_OK, kr_tokenizer_close(again));
  }
}
