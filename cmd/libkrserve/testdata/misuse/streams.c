#include "misuse.h"

#include <pthread.h>
#include <time.h>

static double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static void doze(double seconds) {
  struct timespec ts;
  ts.tv_sec = (time_t)seconds;
  ts.tv_nsec = (long)(1e9 * (seconds - (double)ts.tv_sec));
  nanosleep(&ts, NULL);
}

void case_requests(void) { /* requests that make no sense */
  kr_error err;
  kr_engine *e = open_engine();
  kr_stream *s = (kr_stream *)&err;
  uint32_t ids[600], far = 0x7fffffff;
  kr_message m;
  kr_request r = {0};
  int i;
  memset(&m, 0, sizeof m);
  m.role = str("user");
  m.content = str("Hi");
  r.struct_size = sizeof r;
  STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err)); /* none of messages, raw, prompt */
  r.raw = str("a");
  r.messages = &m;
  r.n_messages = 1;
  STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err)); /* two of them */
  r.messages = NULL;
  STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err)); /* NULL with a count */
  r.n_messages = 0;
#define BAD(field, value) \
  do { \
    kr_request bad = r; \
    bad.field = (value); \
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &bad, &s, &err)); \
    CHECK(s == NULL); \
  } while (0)
  BAD(flags, 1u << 20);
  BAD(max_tokens, -1);
  BAD(temperature, -1.0f);
  BAD(temperature, (float)(0.0 / (double)(int)strlen("")));
  BAD(top_k, -3);
  BAD(top_p, 1.5f);
  BAD(min_p, -0.1f);
  BAD(repetition_penalty, -2.0f);
  BAD(top_logprobs, 21);
  BAD(top_logprobs, -1);
  BAD(tools, str("{}"));
  BAD(tools, str("[1,"));
  BAD(kwargs, str("nonsense"));
  r.raw = str("");
  r.prompt = &far;
  r.n_prompt = 1;
  STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err)); /* an id that is none */
  for (i = 0; i < 600; i++) ids[i] = 100;
  r.prompt = ids;
  r.n_prompt = 600;
  STATUS(KR_ERR_CONTEXT, kr_engine_start(e, &r, &s, &err)); /* context_tokens is 512 */
  r.n_prompt = 512;
  STATUS(KR_ERR_CONTEXT, kr_engine_start(e, &r, &s, &err));
  PLAIN(KR_OK, kr_engine_close(e));
}

/* Reads to the end, with a text buffer that is too small at first; returns the status of the end. */
static kr_status drain(kr_stream *s, char *text, size_t cap, size_t *len, kr_token *last) {
  kr_error err;
  char piece[256];
  kr_status st;
  *len = 0;
  for (;;) {
    size_t need;
    memset(last, 0, sizeof *last);
    last->struct_size = sizeof *last;
    last->text = piece;
    st = kr_stream_next(s, last, -1, &err);
    if (st == KR_ERR_BUFFER) { /* the token is kept */
      need = last->text_len;
      CHECK(need > 0 && need <= sizeof piece);
      last->text_cap = need - 1;
      STATUS(KR_ERR_BUFFER, kr_stream_next(s, last, 0, &err));
      CHECK(last->text_len == need);
      last->text_cap = need;
      last->text_len = 0;
      STATUS(KR_OK, kr_stream_next(s, last, 0, &err));
      CHECK(last->text_len == need);
      st = KR_OK;
    }
    if (st != KR_OK) return st;
    CHECK(*len + last->text_len < cap);
    memcpy(text + *len, piece, last->text_len);
    *len += last->text_len;
    text[*len] = 0;
  }
}

void case_stream(void) {
  kr_error err;
  kr_engine *e = open_engine();
  kr_stream *s;
  kr_request r = {0};
  kr_message m;
  kr_token tok = {0};
  kr_logprob top[5];
  kr_stats stats = {0};
  char text[4096], again[4096], piece[256];
  size_t len, n = 0;
  kr_status st;
  memset(&m, 0, sizeof m);
  m.role = str("user");
  m.content = str("What is the capital of Japan?");
  r.struct_size = sizeof r;
  r.messages = &m;
  r.n_messages = 1;
  r.max_tokens = 40;
  STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
  CHECK(drain(s, text, sizeof text, &len, &tok) == KR_DONE);
  CHECK(strstr(text, "Tokyo"));
  CHECK(tok.finish == KR_FINISH_STOP || tok.finish == KR_FINISH_LENGTH);
  CHECK(tok.prompt_tokens > 10 && tok.completion_tokens > 1);
  memset(&tok, 0, sizeof tok);
  tok.struct_size = sizeof tok;
  STATUS(KR_DONE, kr_stream_next(s, &tok, -1, &err)); /* and again */
  CHECK(tok.prompt_tokens > 10);
  PLAIN(KR_OK, kr_stream_cancel(s)); /* too late, harmless */
  STATUS(KR_DONE, kr_stream_next(s, &tok, 0, &err));
  PLAIN(KR_OK, kr_stream_close(s));

  /* the same by polling, with log-probabilities */
  r.flags = KR_LOGPROBS;
  r.top_logprobs = 5;
  STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
  len = 0;
  for (;;) {
    memset(&tok, 0, sizeof tok);
    tok.struct_size = sizeof tok;
    tok.text = piece;
    tok.text_cap = sizeof piece;
    tok.top = top;
    tok.top_cap = n % 2 ? 5 : 4;
    st = kr_stream_next(s, &tok, (int32_t)(n % 3), &err);
    n++;
    if (st == KR_TIMEOUT) continue;
    if (st == KR_ERR_BUFFER) {
      CHECK(tok.top_len == 5);
      continue;
    }
    if (st != KR_OK) break;
    CHECK(tok.top_len == 5 && top[0].logprob >= top[1].logprob && top[0].logprob <= 0);
    CHECK(tok.id == top[0].id && tok.logprob == top[0].logprob); /* greedy */
    memcpy(again + len, piece, tok.text_len);
    len += tok.text_len;
  }
  again[len] = 0;
  CHECK(st == KR_DONE && strcmp(text, again) == 0);
  PLAIN(KR_OK, kr_stream_close(s));

  stats.struct_size = sizeof stats;
  STATUS(KR_OK, kr_engine_stats(e, &stats, &err));
  CHECK(stats.backend[0] && stats.threads > 0 && stats.context_tokens == 512 && stats.weight_bytes > 1000000 &&
        stats.rows > 40 && stats.steps > 0 && stats.step_seconds > 0);

  /* a seed is kept and reported */
  r.flags = 0;
  r.top_logprobs = 0;
  r.temperature = 1;
  r.seed = 42;
  r.max_tokens = 12;
  STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
  CHECK(drain(s, text, sizeof text, &len, &tok) == KR_DONE && tok.seed == 42);
  PLAIN(KR_OK, kr_stream_close(s));
  STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
  CHECK(drain(s, again, sizeof again, &len, &tok) == KR_DONE && strcmp(text, again) == 0);
  PLAIN(KR_OK, kr_stream_close(s));
  r.seed = 0;
  STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
  CHECK(drain(s, again, sizeof again, &len, &tok) == KR_DONE && tok.seed != 0);
  PLAIN(KR_OK, kr_stream_close(s));
  PLAIN(KR_OK, kr_engine_close(e));
}

/* A reader that runs until its stream ends. */
typedef struct reader {
  kr_stream *s;
  kr_status end;
  int tokens;
  double ended;
} reader;

static void *read_all(void *arg) {
  reader *r = arg;
  char piece[512];
  do {
    kr_token tok = {0};
    tok.struct_size = sizeof tok;
    tok.text = piece;
    tok.text_cap = sizeof piece;
    r->end = kr_stream_next(r->s, &tok, -1, NULL);
    r->tokens += r->end == KR_OK;
  } while (r->end == KR_OK);
  r->ended = now();
  return NULL;
}

static void spawn(pthread_t *th, reader *r, kr_stream *s) {
  memset(r, 0, sizeof *r);
  r->s = s;
  CHECK(pthread_create(th, NULL, read_all, r) == 0);
}

void case_cancel(void) {
  kr_engine *e = open_engine();
  kr_stream *s = start(e, "Once upon a time", 400);
  kr_error err;
  kr_token tok = {0};
  reader r;
  pthread_t th;
  double t0;
  spawn(&th, &r, s);
  doze(0.2);
  tok.struct_size = sizeof tok;
  { /* two readers of one stream: the second is told so, or is between two tokens of the first */
    kr_status st = kr_stream_next(s, &tok, 0, &err);
    CHECK(st == KR_ERR_INVALID || st == KR_TIMEOUT || st == KR_ERR_BUFFER);
  }
  t0 = now();
  PLAIN(KR_OK, kr_stream_cancel(s));
  pthread_join(th, NULL);
  CHECK(r.end == KR_ERR_CANCELLED);
  CHECK(r.ended - t0 < 2.0);
  STATUS(KR_ERR_CANCELLED, kr_stream_next(s, &tok, -1, &err));
  CHECK(tok.finish == KR_FINISH_CANCELLED);
  PLAIN(KR_OK, kr_stream_cancel(s)); /* twice */
  PLAIN(KR_OK, kr_stream_close(s));
  s = start(e, "One, two,", 3); /* the engine lives on */
  spawn(&th, &r, s);
  pthread_join(th, NULL);
  CHECK(r.end == KR_DONE && r.tokens > 0);
  PLAIN(KR_OK, kr_stream_close(s));
  /* cancelled before it is ever read */
  s = start(e, "One, two,", 400);
  PLAIN(KR_OK, kr_stream_cancel(s));
  spawn(&th, &r, s);
  pthread_join(th, NULL);
  CHECK(r.end == KR_ERR_CANCELLED);
  PLAIN(KR_OK, kr_stream_close(s));
  PLAIN(KR_OK, kr_engine_close(e));
}

void case_close_stream(void) { /* while another thread reads it */
  kr_engine *e = open_engine();
  int i;
  for (i = 0; i < 6; i++) {
    kr_stream *s = start(e, "Once upon a time", 400);
    reader r;
    pthread_t th;
    double t0;
    spawn(&th, &r, s);
    doze(0.02 * i);
    t0 = now();
    PLAIN(KR_OK, kr_stream_close(s));
    pthread_join(th, NULL);
    CHECK(r.end == KR_ERR_CLOSED || r.end == KR_ERR_CANCELLED);
    CHECK(r.ended - t0 < 2.0);
    PLAIN(KR_ERR_CLOSED, kr_stream_close(s));
  }
  PLAIN(KR_OK, kr_engine_close(e));
}

void case_close_engine(void) { /* while others stream */
  kr_engine *e = open_engine();
  kr_error err;
  kr_stream *s[3];
  reader r[3];
  pthread_t th[3];
  kr_token tok = {0};
  int i;
  double t0;
  for (i = 0; i < 3; i++) {
    s[i] = start(e, "Once upon a time", 400);
    spawn(&th[i], &r[i], s[i]);
  }
  doze(0.2);
  t0 = now();
  PLAIN(KR_OK, kr_engine_close(e));
  CHECK(now() - t0 < 3.0);
  for (i = 0; i < 3; i++) pthread_join(th[i], NULL);
  tok.struct_size = sizeof tok;
  for (i = 0; i < 3; i++) {
    CHECK(r[i].end == KR_ERR_CLOSED || r[i].end == KR_ERR_CANCELLED);
    STATUS(r[i].end, kr_stream_next(s[i], &tok, -1, &err));
    PLAIN(KR_OK, kr_stream_close(s[i])); /* stream handles are the caller's, also now */
  }
  PLAIN(KR_ERR_CLOSED, kr_engine_close(e));
}

/* ---- 16 threads ---- */

typedef struct worker {
  int i;
  kr_engine *e;
  kr_tokenizer *t;
  const uint32_t *ids;
  size_t n;
  const char *answer;
} worker;

static const char pangram[] = "Sphinx of black quartz, judge my vow.";

static void *work(void *arg) {
  worker *w = arg;
  kr_error err;
  int round;
  for (round = 0; round < 40; round++) { /* the shared tokenizer, and handles of one's own */
    uint32_t ids[64];
    char text[128];
    size_t n = 64, m = sizeof text;
    kr_tokenizer *own;
    STATUS(KR_OK, kr_tokenizer_encode(w->t, pangram, sizeof pangram - 1, 0, ids, &n, &err));
    CHECK(n == w->n && memcmp(ids, w->ids, n * sizeof *ids) == 0);
    STATUS(KR_OK, kr_tokenizer_decode(w->t, ids, n, 0, text, &m, &err));
    CHECK(m == sizeof pangram - 1 && memcmp(text, pangram, m) == 0);
    STATUS(KR_OK, kr_engine_tokenizer(w->e, &own, &err));
    PLAIN(KR_OK, kr_tokenizer_close(own));
    PLAIN(KR_ERR_CLOSED, kr_tokenizer_close(own));
  }
  { /* one answer each, some given up half-way */
    kr_stream *s = start(w->e, "One, two, three,", 8);
    kr_token tok = {0};
    char text[1024];
    size_t len;
    if (w->i % 4 == 3) {
      char piece[256];
      tok.struct_size = sizeof tok;
      tok.text = piece;
      tok.text_cap = sizeof piece;
      STATUS(KR_OK, kr_stream_next(s, &tok, -1, &err));
    } else {
      CHECK(drain(s, text, sizeof text, &len, &tok) == KR_DONE);
      CHECK(strcmp(text, w->answer) == 0);
    }
    PLAIN(KR_OK, kr_stream_close(s));
  }
  return NULL;
}

void case_threads(void) {
  kr_error err;
  kr_engine *e = open_engine();
  kr_tokenizer *t = open_tokenizer();
  kr_stream *s;
  kr_token tok;
  uint32_t ids[64];
  size_t n = 64, len;
  char answer[1024];
  pthread_t th[16];
  worker w[16];
  int i;
  STATUS(KR_OK, kr_tokenizer_encode(t, pangram, sizeof pangram - 1, 0, ids, &n, &err));
  s = start(e, "One, two, three,", 8);
  CHECK(drain(s, answer, sizeof answer, &len, &tok) == KR_DONE);
  PLAIN(KR_OK, kr_stream_close(s));
  for (i = 0; i < 16; i++) {
    w[i].i = i;
    w[i].e = e;
    w[i].t = t;
    w[i].ids = ids;
    w[i].n = n;
    w[i].answer = answer;
    CHECK(pthread_create(&th[i], NULL, work, &w[i]) == 0);
  }
  for (i = 0; i < 16; i++) pthread_join(th[i], NULL);
  PLAIN(KR_OK, kr_tokenizer_close(t));
  PLAIN(KR_OK, kr_engine_close(e));
}

/* ---- log and panics: what only a test build of the library can provoke ---- */

void kr_test_panic(const char *function);
void kr_test_log(int32_t level, const char *text);

static struct {
  int calls, refused, last_level;
  char last[256];
} seen;

static void on_log(void *user, int32_t level, const char *text, size_t len) {
  kr_error err;
  kr_tokenizer *t;
  CHECK(user == &seen);
  seen.calls++;
  seen.last_level = level;
  CHECK(len < sizeof seen.last);
  memcpy(seen.last, text, len);
  seen.last[len] = 0;
  /* the callback may not call back, and gets told so instead of a deadlock */
  STATUS(KR_ERR_INVALID, kr_tokenizer_open("x", 1, &t, &err));
  seen.refused += kr_log_set(NULL, NULL, 0) == KR_ERR_INVALID;
}

void case_log(void) {
  kr_test_log(KR_LOG_ERROR, "before");
  PLAIN(KR_OK, kr_log_set(on_log, &seen, KR_LOG_INFO));
  kr_test_log(KR_LOG_DEBUG, "too fine");
  CHECK(seen.calls == 0);
  kr_test_log(KR_LOG_WARN, "hello");
  CHECK(seen.calls == 1 && seen.refused == 1 && seen.last_level == KR_LOG_WARN);
  CHECK(strcmp(seen.last, "hello group.key=value") == 0);
  PLAIN(KR_OK, kr_log_set(NULL, NULL, 0));
  kr_test_log(KR_LOG_ERROR, "after");
  CHECK(seen.calls == 1);
}

void case_panic(void) {
  kr_error err;
  kr_tokenizer *t = open_tokenizer(), *t2;
  kr_engine *e = open_engine(), *e2;
  kr_stream *s = start(e, "One, two,", 50), *s2;
  uint32_t ids[8] = {0}, id;
  size_t n, offsets[2];
  char text[256];
  kr_str one = {"a", 1};
  kr_tokenizer_info info = {0};
  kr_template_params tp = {0};
  kr_engine_params ep = {0};
  kr_request r = {0};
  kr_stats stats = {0};
  kr_token tok = {0};
  kr_encode_params xp = {0};
  kr_encoding x = {0};
  kr_tokenizer_counters counters = {0};
  kr_decoder *d, *d2;
  kr_appender *a, *a2;
  STATUS(KR_OK, kr_decoder_open(t, 0, &d, &err));
  STATUS(KR_OK, kr_appender_open(t, 0, &a, &err));
  xp.struct_size = sizeof xp;
  x.struct_size = sizeof x;
  counters.struct_size = sizeof counters;
  info.struct_size = sizeof info;
  tp.struct_size = sizeof tp;
  ep.struct_size = sizeof ep;
  r.struct_size = sizeof r;
  stats.struct_size = sizeof stats;
  tok.struct_size = sizeof tok;
  tok.text = text;
  tok.text_cap = sizeof text;
  kr_test_panic("*");
#define BROKEN(callexpr) \
  do { \
    n = 0; \
    STATUS(KR_ERR_INTERNAL, callexpr); \
    CHECK(strstr(err.message, "panic: runtime error: index out of range")); \
  } while (0)
  BROKEN(kr_tokenizer_open("x", 1, &t2, &err));
  BROKEN(kr_tokenizer_open_bytes("x", 1, &t2, &err));
  BROKEN(kr_tokenizer_encode(t, "a", 1, 0, ids, &n, &err));
  BROKEN(kr_tokenizer_encode_batch(t, &one, 1, 0, 2, ids, &n, offsets, &err));
  BROKEN(kr_tokenizer_count(t, "a", 1, 0, &n, &err));
  BROKEN(kr_tokenizer_decode(t, ids, 1, 0, text, &n, &err));
  BROKEN(kr_tokenizer_describe(t, &info, &err));
  BROKEN(kr_tokenizer_token_id(t, "a", 1, &id, &err));
  BROKEN(kr_tokenizer_piece(t, 0, text, &n, NULL, &err));
  BROKEN(kr_template_apply(t, &tp, text, &n, &err));
  BROKEN(kr_tokenizer_count_up_to(t, "a", 1, 0, 1, &n, &err));
  BROKEN(kr_tokenizer_encode_full(t, &xp, &x, &err));
  BROKEN(kr_tokenizer_stats(t, 0, &counters, &err));
  BROKEN(kr_decoder_open(t, 0, &d2, &err));
  BROKEN(kr_decoder_next(d, ids, 1, 0, text, &n, &err));
  BROKEN(kr_appender_open(t, 0, &a2, &err));
  BROKEN(kr_appender_add(a, "a", 1, 0, NULL, NULL, &err));
  BROKEN(kr_appender_ids(a, 0, ids, &n, &err));
  BROKEN(kr_appender_undo(a, 1, NULL, &err));
  PLAIN(KR_ERR_INTERNAL, kr_decoder_close(d));
  PLAIN(KR_ERR_INTERNAL, kr_appender_close(a));
  BROKEN(kr_engine_open(&ep, &e2, &err));
  BROKEN(kr_engine_tokenizer(e, &t2, &err));
  BROKEN(kr_engine_start(e, &r, &s2, &err));
  BROKEN(kr_engine_stats(e, &stats, &err));
  BROKEN(kr_stream_next(s, &tok, -1, &err));
  PLAIN(KR_ERR_INTERNAL, kr_stream_cancel(s));
  PLAIN(KR_ERR_INTERNAL, kr_stream_close(s));
  PLAIN(KR_ERR_INTERNAL, kr_engine_close(e));
  PLAIN(KR_ERR_INTERNAL, kr_tokenizer_close(t));
  PLAIN(KR_ERR_INTERNAL, kr_log_set(NULL, NULL, 0));
  CHECK(t2 == NULL && e2 == NULL && s2 == NULL && d2 == NULL && a2 == NULL);

  kr_test_panic("batch"); /* in goroutines of the library, too */
  BROKEN(kr_tokenizer_encode_batch(t, &one, 1, 0, 2, ids, &n, offsets, &err));
  kr_test_panic(NULL); /* and nothing is broken afterwards */
  PLAIN(KR_OK, kr_decoder_close(d));
  PLAIN(KR_OK, kr_appender_close(a));
  n = 8;
  STATUS(KR_OK, kr_tokenizer_encode(t, "a", 1, 0, ids, &n, &err));
  PLAIN(KR_OK, kr_stream_close(s));
  s = start(e, "One, two,", 3);
  STATUS(KR_OK, kr_stream_next(s, &tok, -1, &err));
  PLAIN(KR_OK, kr_stream_close(s));
  PLAIN(KR_OK, kr_engine_close(e));
  PLAIN(KR_OK, kr_tokenizer_close(t));
}
