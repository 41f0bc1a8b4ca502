#include "misuse.h"

#include <unistd.h>

static kr_pool *open_pool(const kr_pool_params *p) {
  kr_error err;
  kr_pool *pool = NULL;
  STATUS(KR_OK, kr_pool_open(p, &pool, &err));
  CHECK(pool != NULL);
  return pool;
}

/* Opens an engine on a pool, lets it answer 200 tokens for a tenant, and closes it. */
static kr_token use(kr_pool *pool, const char *tenant, kr_stats *stats) {
  kr_error err;
  kr_engine *e = NULL;
  kr_stream *s = NULL;
  kr_token tok = {0};
  kr_request r = {0};
  kr_engine_params p = {0};
  uint32_t prompt[200];
  char text[64];
  kr_status st;
  int i;
  p.struct_size = sizeof p;
  p.model = str(model_path);
  p.context_tokens = 256;
  p.pool = pool;
  p.kv_type = str("q8_0");
  p.activation_bits = 8;
  STATUS(KR_OK, kr_engine_open(&p, &e, &err));
  for (i = 0; i < 200; i++) prompt[i] = (uint32_t)(100 + i);
  r.struct_size = sizeof r;
  r.prompt = prompt;
  r.n_prompt = 200;
  r.max_tokens = 3;
  r.flags = KR_IGNORE_EOS;
  r.tenant = str(tenant);
  r.priority = 1;
  STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
  tok.struct_size = sizeof tok;
  tok.text = text;
  tok.text_cap = sizeof text;
  while ((st = kr_stream_next(s, &tok, -1, &err)) == KR_OK) {}
  CHECK(st == KR_DONE && tok.completion_tokens == 3);
  PLAIN(KR_OK, kr_stream_close(s));
  memset(stats, 0, sizeof *stats);
  stats->struct_size = sizeof *stats;
  STATUS(KR_OK, kr_engine_stats(e, stats, &err));
  PLAIN(KR_OK, kr_engine_close(e));
  return tok;
}

void case_pool(void) { /* the file keeps prefixes from one life to the next, for their tenant */
  kr_error err;
  char dir[] = "/tmp/kr-pool-XXXXXX", file[64], lock[80];
  kr_pool_params p = {0};
  kr_pool_counters c = {0};
  kr_pool *pool;
  kr_stats stats;
  int life;
  CHECK(mkdtemp(dir) != NULL);
  snprintf(file, sizeof file, "%s/kv", dir);
  snprintf(lock, sizeof lock, "%s.lock", file);
  p.struct_size = sizeof p;
  p.host_bytes = 16 << 20;
  p.file = str(file);
  p.file_bytes = 64 << 20;
  p.ttl_ms = 3600 * 1000;
  p.store = str("redis://127.0.0.1:1"); /* nobody answers there, which costs no request */
  p.store_timeout_ms = 50;
  c.struct_size = sizeof c;
  for (life = 0; life < 2; life++) {
    kr_token tok;
    pool = open_pool(&p);
    tok = use(pool, "a", &stats);
    CHECK(tok.cached_tokens == (life ? 192u : 0u) && stats.restored_tokens == tok.cached_tokens);
    STATUS(KR_OK, kr_pool_stats(pool, &c, &err));
    CHECK(life ? c.file_hits == 6 && c.file_records >= 6 : c.file_hits == 0);
    CHECK(c.file_damaged == 0 && c.store_hits == 0 && c.bytes == 0);
    tok = use(pool, "b", &stats);
    CHECK(tok.cached_tokens == (life ? 192u : 0u));
    PLAIN(KR_OK, kr_pool_close(pool));
    STATUS(KR_ERR_CLOSED, kr_pool_stats(pool, &c, &err));
    PLAIN(KR_ERR_CLOSED, kr_pool_close(pool));
  }
  { /* a pool goes on until its last engine is closed */
    kr_engine *e = NULL, *e2 = (kr_engine *)&err;
    kr_pool *second = (kr_pool *)&err;
    kr_engine_params ep = {0};
    kr_stream *s;
    pool = open_pool(&p);
    STATUS(KR_ERR_INVALID, kr_pool_open(&p, &second, &err)); /* the file is in use */
    CHECK(second == NULL && strstr(err.message, "in use"));
    ep.struct_size = sizeof ep;
    ep.model = str(model_path);
    ep.context_tokens = 256;
    ep.pool = pool;
    STATUS(KR_OK, kr_engine_open(&ep, &e, &err));
    PLAIN(KR_OK, kr_pool_close(pool));
    STATUS(KR_ERR_CLOSED, kr_engine_open(&ep, &e2, &err));
    CHECK(e2 == NULL);
    STATUS(KR_ERR_INVALID, kr_pool_open(&p, &second, &err));
    s = start(e, "One, two,", 4);
    PLAIN(KR_OK, kr_stream_close(s));
    PLAIN(KR_OK, kr_engine_close(e));
    pool = open_pool(&p); /* now it is free */
    PLAIN(KR_OK, kr_pool_close(pool));
  }
  CHECK(unlink(file) == 0);
  unlink(lock);
  CHECK(rmdir(dir) == 0);
}

void case_bad_pool(void) {
  kr_error err;
  kr_engine *e = open_engine(), *e2 = (kr_engine *)&err;
  kr_pool *pool = (kr_pool *)&err;
  kr_pool_params p = {0};
  kr_pool_counters c = {0};
  kr_engine_params ep = {0};
  c.struct_size = sizeof c;
  p.struct_size = sizeof p;
#define REFUSED(field, value, status) \
  do { \
    kr_pool_params bad = p; \
    bad.field = (value); \
    pool = (kr_pool *)&err; \
    STATUS(status, kr_pool_open(&bad, &pool, &err)); \
    CHECK(pool == NULL); \
  } while (0)
  REFUSED(struct_size, 0, KR_ERR_INVALID);
  REFUSED(struct_size, sizeof p - 1, KR_ERR_INVALID);
  REFUSED(flags, 2, KR_ERR_INVALID);
  REFUSED(bytes, -1, KR_ERR_INVALID);
  REFUSED(tenant_bytes, -1, KR_ERR_INVALID);
  REFUSED(host_bytes, -1, KR_ERR_INVALID);
  REFUSED(file_bytes, 1 << 30, KR_ERR_INVALID); /* without a file */
  REFUSED(ttl_ms, INT64_MAX, KR_ERR_INVALID);
  REFUSED(ttl_ms, -1, KR_ERR_INVALID);
  REFUSED(ttl_ms, INT64_MIN, KR_ERR_INVALID);
  REFUSED(sequences, -1, KR_ERR_INVALID);
  REFUSED(store_timeout_ms, -1, KR_ERR_INVALID);
  REFUSED(file, str("/no/such/folder/kv"), KR_ERR_NOT_FOUND);
  REFUSED(file, str("\xff"), KR_ERR_INVALID);
  REFUSED(store, str("ftp://example.test"), KR_ERR_INVALID);
  REFUSED(store, str("redis://user:secret@[::1"), KR_ERR_INVALID);
  CHECK(strstr(err.message, "secret") == NULL);
  STATUS(KR_ERR_INVALID, kr_pool_open(NULL, &pool, &err));
  STATUS(KR_ERR_INVALID, kr_pool_open(&p, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_pool_stats(NULL, &c, &err));
  STATUS(KR_ERR_INVALID, kr_pool_stats((kr_pool *)e, &c, &err));
  PLAIN(KR_ERR_INVALID, kr_pool_close((kr_pool *)e));
  PLAIN(KR_OK, kr_pool_close(NULL));
  ep.struct_size = sizeof ep;
  ep.model = str(model_path);
  ep.pool = (kr_pool *)e;
  STATUS(KR_ERR_INVALID, kr_engine_open(&ep, &e2, &err));
  CHECK(e2 == NULL);
  ep.pool = NULL;
  ep.activation_bits = 7;
  STATUS(KR_ERR_INVALID, kr_engine_open(&ep, &e2, &err));
  CHECK(strstr(err.message, "ActivationBits"));
  ep.activation_bits = 8;
  ep.kv_type = str("q3");
  STATUS(KR_ERR_INVALID, kr_engine_open(&ep, &e2, &err));
  p.bytes = 1000; /* less than one block */
  pool = open_pool(&p);
  ep.kv_type = str("");
  ep.pool = pool;
  STATUS(KR_ERR_MEMORY, kr_engine_open(&ep, &e2, &err));
  PLAIN(KR_OK, kr_pool_close(pool));
  PLAIN(KR_OK, kr_engine_close(e));
}
