#include "misuse.h"

#include <pthread.h>

static const char long_text[] = "The quick brown fox jumps over the lazy dog. \xc3\x84hm \xf0\x9f\x98\x80 <|im_end|> and so on";

static kr_encode_params full(const kr_str *texts, size_t n, uint32_t flags) {
  kr_encode_params p;
  memset(&p, 0, sizeof p);
  p.struct_size = sizeof p;
  p.flags = flags;
  p.texts = texts;
  p.n_texts = n;
  return p;
}

/* An encoding with heap buffers of the exact size, so that ASan sees one element too many. */
static kr_encoding room(size_t cap, size_t parts_cap) {
  kr_encoding e;
  memset(&e, 0, sizeof e);
  e.struct_size = sizeof e;
  e.cap = cap;
  e.ids = malloc(cap * 4 + 1);
  e.types = malloc(cap * 4 + 1);
  e.begins = malloc(cap * 4 + 1);
  e.ends = malloc(cap * 4 + 1);
  e.words = malloc(cap * 4 + 1);
  e.marks = malloc(cap + 1);
  e.parts_cap = parts_cap;
  e.parts = malloc(parts_cap * sizeof *e.parts + 1);
  e.part_texts = malloc(parts_cap * sizeof *e.parts + 1);
  return e;
}

static void drop(kr_encoding *e) {
  free(e->ids);
  free(e->types);
  free(e->begins);
  free(e->ends);
  free(e->words);
  free(e->marks);
  free(e->parts);
  free(e->part_texts);
}

void case_encoding(void) {
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  kr_str texts[3], pairs[3];
  kr_encode_params p;
  kr_encoding e, sizes;
  uint32_t ids[128];
  size_t n = 128, i, at, cap;
  texts[0] = str(long_text);
  texts[1] = str("");
  texts[2] = str("a\xff\xffz");
  STATUS(KR_OK, kr_tokenizer_encode(t, long_text, sizeof long_text - 1, 0, ids, &n, &err));

  /* sizes first, then exact buffers, each too small by some */
  p = full(texts, 3, 0);
  memset(&sizes, 0, sizeof sizes);
  sizes.struct_size = sizeof sizes;
  STATUS(KR_ERR_BUFFER, kr_tokenizer_encode_full(t, &p, &sizes, &err));
  CHECK(sizes.n > n && sizes.n_parts == 3);
  for (cap = 0; cap <= sizes.n + 1; cap++) {
    e = room(cap, 4);
    memset(e.ids, 0xab, cap * 4);
    STATUS(cap < sizes.n ? KR_ERR_BUFFER : KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
    CHECK(e.n == sizes.n && e.n_parts == 3);
    for (i = cap < sizes.n ? 0 : sizes.n; i < cap; i++) CHECK(e.ids[i] == 0xabababab);
    if (cap == sizes.n) {
      CHECK(memcmp(e.ids, ids, n * sizeof *ids) == 0);
      CHECK(e.parts[0] == 0 && e.parts[1] == n && e.parts[2] == n && e.parts[3] == e.n);
      CHECK(e.part_texts[0] == 0 && e.part_texts[2] == 2);
      for (i = at = 0; i < n; i++) { /* offsets cover the text; words count up */
        CHECK(e.begins[i] <= e.ends[i] && e.ends[i] <= sizeof long_text - 1 && e.ends[i] >= at && e.types[i] == 0);
        CHECK(e.marks[i] == 0 && e.words[i] >= (i ? e.words[i - 1] : 0));
        at = e.ends[i];
      }
      CHECK(at == sizeof long_text - 1 && e.ends[e.n - 1] == 4);
    }
    drop(&e);
  }
  for (cap = 1; cap < 5; cap++) { /* parts too small */
    e = room(sizes.n, cap);
    STATUS(cap < 4 ? KR_ERR_BUFFER : KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
    CHECK(e.n_parts == 3);
    drop(&e);
  }
  p.flags = KR_CHAR_OFFSETS; /* an invalid byte is one code point each */
  e = room(128, 4);
  STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(e.ends[n - 1] == sizeof long_text - 1 - 4 && e.ends[e.n - 1] == 4);

  /* truncation: parts that overlap are the whole */
  p = full(texts, 1, KR_TRUNCATE);
  p.max_tokens = 7;
  p.stride = 2;
  drop(&e);
  e = room(256, 64);
  STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(e.n_parts > 2 && e.parts[1] == 7);
  for (i = 0, at = 0; i < e.n_parts; i++) {
    size_t len = e.parts[i + 1] - e.parts[i];
    CHECK(len <= 7 && e.part_texts[i] == 0 && memcmp(e.ids + e.parts[i], ids + at, len * 4) == 0);
    at += 5;
  }
  CHECK(at - 5 + (e.parts[e.n_parts] - e.parts[e.n_parts - 1]) == n);
  p.flags |= KR_TRUNCATE_LEFT;
  STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(memcmp(e.ids, ids + n - 7, 28) == 0);

  /* padding to the longest of the call, and what marks say */
  p = full(texts, 3, KR_PAD | KR_PAD_LEFT);
  p.pad_id = 9;
  p.pad_type = 3;
  p.pad_multiple_of = 8;
  STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(e.n == 3 * ((n + 7) / 8 * 8));
  for (i = e.parts[1]; i < e.parts[2]; i++)
    CHECK(e.ids[i] == 9 && e.types[i] == 3 && e.marks[i] == (KR_TOKEN_SPECIAL | KR_TOKEN_PADDING) && e.words[i] == -1);

  /* pairs */
  pairs[0] = str("second");
  pairs[1] = str("x");
  pairs[2].data = NULL;
  pairs[2].len = 0;
  p = full(texts, 3, 0);
  p.pairs = pairs;
  STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(e.parts[1] > n && memcmp(e.ids, ids, n * 4) == 0 && e.begins[n] == 0);
  /* no text at all */
  p = full(NULL, 0, 0);
  STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(e.n == 0 && e.n_parts == 0 && e.parts[0] == 0);

  /* special tokens */
  p = full(texts, 1, KR_SPECIAL_REFUSE);
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(strstr(err.message, "<|im_end|>"));
  p.flags = KR_SPECIAL_TEXT;
  STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err));
  CHECK(e.n > n);

  { /* counters */
    kr_tokenizer_counters c = {0};
    c.struct_size = sizeof c;
    STATUS(KR_OK, kr_tokenizer_stats(t, 1, &c, &err));
    CHECK(c.encodes > 3 && c.tokens > n && c.bytes > sizeof long_text && c.seconds > 0);
    STATUS(KR_OK, kr_tokenizer_stats(t, 0, &c, &err));
    CHECK(c.encodes == 0 && c.tokens == 0 && c.bytes == 0 && c.seconds == 0 && c.cache_hits == 0);
    STATUS(KR_ERR_INVALID, kr_tokenizer_stats(t, 2, &c, &err));
  }
  for (cap = 0; cap < n + 3; cap++) { /* counting up to a limit */
    size_t got = 999;
    STATUS(KR_OK, kr_tokenizer_count_up_to(t, long_text, sizeof long_text - 1, 0, cap, &got, &err));
    CHECK(got == (cap < n ? cap + 1 : n));
  }
  STATUS(KR_OK, kr_tokenizer_count_up_to(t, long_text, sizeof long_text - 1, 0, SIZE_MAX, &cap, &err));
  CHECK(cap == n);
  STATUS(KR_ERR_INVALID, kr_tokenizer_count_up_to(t, "a", 1, 0x1000, 1, &cap, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_count_up_to(t, long_text, sizeof long_text - 1, KR_SPECIAL_REFUSE, 99, &cap, &err));
  drop(&e);
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

void case_limits(void) { /* params that cannot be met, and that would take all memory */
  static const uint32_t wrong[] = {0, 1, 8, 48, 65537, 0x7fffffff, UINT32_MAX};
  static const size_t huge[] = {(size_t)1 << 31, (size_t)1 << 40, SIZE_MAX / 2, SIZE_MAX};
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  kr_str one[2];
  kr_encode_params p;
  kr_encoding e = room(64, 8), small;
  kr_tokenizer_counters c = {0};
  size_t i;
  one[0] = one[1] = str("one two three four five six seven");
#define REFUSED(field, value) \
  do { \
    p = full(one, 2, KR_TRUNCATE | KR_PAD); \
    p.max_tokens = 4; \
    p.pad_to = 4; \
    STATUS(KR_OK, kr_tokenizer_encode_full(t, &p, &e, &err)); \
    p.field = (value); \
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err)); \
  } while (0)
  REFUSED(flags, UINT32_MAX);
  REFUSED(flags, KR_SKIP_SPECIAL);
  REFUSED(flags, KR_TRUNCATE_LEFT);
  REFUSED(flags, KR_TRUNCATE);
  REFUSED(flags, KR_PAD);
  REFUSED(flags, KR_SPECIAL_REFUSE | KR_SPECIAL_TEXT | KR_TRUNCATE | KR_PAD);
  REFUSED(stride, 4);
  REFUSED(stride, UINT32_MAX);
  REFUSED(strategy, 3);
  REFUSED(strategy, KR_ONLY_SECOND);
  REFUSED(pad_to, UINT32_MAX);
  REFUSED(pad_multiple_of, UINT32_MAX);
  REFUSED(texts, NULL);
  for (i = 0; i < sizeof huge / sizeof *huge; i++) {
    REFUSED(n_texts, huge[i]);
    one[1].len = huge[i];
    p = full(one, 2, 0);
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
    CHECK(strstr(err.message, "texts[1]"));
    p = full(one, 1, 0);
    p.pairs = one + 1;
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
    CHECK(strstr(err.message, "pairs[0]"));
    one[1] = one[0];
  }
  one[1].data = NULL;
  p = full(one, 2, 0);
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
  one[1] = one[0];
  { /* texts padded, or cut with a stride, beyond any memory */
    size_t n = 100000, len = 400000;
    kr_str *many = malloc(n * sizeof *many);
    char *text = malloc(len);
    for (i = 0; i < n; i++) many[i] = str("a");
    for (i = 0; i < len; i++) text[i] = i % 2 ? 'b' : ' ';
    p = full(many, n, KR_PAD);
    p.pad_to = 1 << 24;
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
    many[0].data = text;
    many[0].len = len;
    p = full(many, 1, KR_TRUNCATE);
    p.max_tokens = 100000;
    p.stride = 99999;
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
    p.max_tokens = 4;
    p.stride = 1;
    p.pairs = many;
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
    free(text);
    free(many);
  }
  for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    p = full(one, 2, 0);
    p.struct_size = wrong[i];
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
    p.struct_size = sizeof p;
    e.struct_size = wrong[i];
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &e, &err));
    e.struct_size = sizeof e;
    c.struct_size = wrong[i];
    STATUS(KR_ERR_INVALID, kr_tokenizer_stats(t, 0, &c, &err));
  }
  memset(&small, 0, sizeof small); /* capacities without buffers */
  small.struct_size = sizeof small;
  small.cap = 100;
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &small, &err));
  small.cap = 0;
  small.parts_cap = 100;
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode_full(t, &p, &small, &err));
  drop(&e);
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

void case_decoder(void) {
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  kr_decoder *d;
  uint32_t ids[128];
  const uint32_t none[3] = {UINT32_MAX, 0x7fffffff, 1u << 24};
  size_t n = 128, i, len, at = 0;
  char text[256], all[256];
  int cut;
  STATUS(KR_OK, kr_tokenizer_encode(t, long_text, sizeof long_text - 1, 0, ids, &n, &err));
  STATUS(KR_ERR_INVALID, kr_decoder_open(t, 1, &d, &err));
  CHECK(d == NULL);
  STATUS(KR_OK, kr_decoder_open(t, 0, &d, &err));
  PLAIN(KR_OK, kr_tokenizer_close(t)); /* it outlives its tokenizer */
  for (cut = 0; cut < 3; cut++) { /* id by id, into buffers that are too small, too */
    for (i = at = 0; i <= n; i++) {
      kr_status st;
      len = cut == 0 ? sizeof text : cut == 1 ? 0 : i % 4;
      st = kr_decoder_next(d, ids + i, i < n, i == n, len ? text : NULL, &len, &err);
      CHECK(st == KR_OK || (st == KR_ERR_BUFFER && cut > 0));
      if (st == KR_ERR_BUFFER && i == n) STATUS(KR_OK, kr_decoder_next(d, NULL, 0, 0, text, &len, &err));
      else if (st == KR_ERR_BUFFER) continue; /* it comes with the next */
      memcpy(all + at, text, len);
      at += len;
    }
    CHECK(at == sizeof long_text - 1 && memcmp(all, long_text, at) == 0);
  }
  len = sizeof text;
  STATUS(KR_OK, kr_decoder_next(d, none, 3, 1, text, &len, &err));
  CHECK(len == 0);
  STATUS(KR_ERR_INVALID, kr_decoder_next(d, NULL, 3, 0, text, &len, &err));
  STATUS(KR_ERR_INVALID, kr_decoder_next(d, ids, SIZE_MAX, 0, text, &len, &err));
  STATUS(KR_ERR_INVALID, kr_decoder_next(d, ids, 1, 7, text, &len, &err));
  STATUS(KR_ERR_INVALID, kr_decoder_next(d, ids, 1, 0, text, NULL, &err));
  len = 5;
  STATUS(KR_ERR_INVALID, kr_decoder_next(d, ids, 1, 0, NULL, &len, &err));
  PLAIN(KR_ERR_INVALID, kr_appender_close((kr_appender *)d));
  PLAIN(KR_OK, kr_decoder_close(d));
  PLAIN(KR_ERR_CLOSED, kr_decoder_close(d));
  STATUS(KR_ERR_CLOSED, kr_decoder_next(d, ids, 1, 0, text, &len, &err));
}

void case_appender(void) {
  static const struct {
    const char *text;
    uint32_t flags;
  } turns[] = {{"<|im_start|>user\n", 0}, {"Say <|im_end|> for me, \xf0\x9f\x98", KR_SPECIAL_TEXT}, {"\x80!", KR_SPECIAL_TEXT},
               {"<|im_end|>\n<|im_start|>assistant\n", 0}, {"No", 0}, {"thing.", 0}};
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  kr_appender *a, *b;
  uint32_t ids[256], want[256];
  uint64_t marks[6], mark;
  size_t n, m, i, counts[7] = {0};
  STATUS(KR_ERR_INVALID, kr_appender_open(t, KR_SPECIAL_REFUSE, &a, &err));
  CHECK(a == NULL);
  STATUS(KR_OK, kr_appender_open(t, 0, &a, &err));
  STATUS(KR_OK, kr_appender_open(t, KR_SPECIAL_TEXT, &b, &err));
  for (i = 0; i < 6; i++)
    STATUS(KR_OK, kr_appender_add(a, turns[i].text, strlen(turns[i].text), turns[i].flags, &marks[i], &counts[i + 1], &err));
  m = 256;
  STATUS(KR_OK, kr_appender_ids(a, 0, want, &m, &err));
  CHECK(m == counts[6]);
  n = 256; /* what stands after the content is as if it were encoded at once */
  STATUS(KR_OK, kr_tokenizer_encode(t, "<|im_end|>\n<|im_start|>assistant\nNothing.", 41, 0, ids, &n, &err));
  CHECK(n < m && memcmp(ids, want + m - n, n * sizeof *ids) == 0);
  PLAIN(KR_OK, kr_tokenizer_close(t)); /* it outlives its tokenizer */
  n = 3;
  STATUS(KR_ERR_BUFFER, kr_appender_ids(a, 1, ids, &n, &err));
  CHECK(n == m - 1);
  STATUS(KR_OK, kr_appender_ids(a, m, ids, &n, &err));
  CHECK(n == 0);
  STATUS(KR_ERR_INVALID, kr_appender_ids(a, m + 1, ids, &n, &err));
  STATUS(KR_ERR_INVALID, kr_appender_ids(a, SIZE_MAX, ids, &n, &err));
  STATUS(KR_ERR_INVALID, kr_appender_ids(a, 0, ids, NULL, &err));
  n = 256;
  STATUS(KR_ERR_INVALID, kr_appender_ids(a, 0, NULL, &n, &err));
  /* back, and forth again */
  STATUS(KR_OK, kr_appender_undo(a, marks[4], &n, &err));
  CHECK(n == counts[4]);
  STATUS(KR_ERR_INVALID, kr_appender_undo(a, marks[5], &n, &err));
  STATUS(KR_OK, kr_appender_undo(a, marks[1], &n, &err));
  CHECK(n == counts[1]);
  for (i = 1; i < 6; i++) STATUS(KR_OK, kr_appender_add(a, turns[i].text, strlen(turns[i].text), turns[i].flags, &mark, NULL, &err));
  n = 256;
  STATUS(KR_OK, kr_appender_ids(a, 0, ids, &n, &err));
  CHECK(n == m && memcmp(ids, want, n * sizeof *ids) == 0);
  for (i = 2; i < 6; i++) STATUS(KR_ERR_INVALID, kr_appender_undo(a, marks[i], NULL, &err));
  STATUS(KR_ERR_INVALID, kr_appender_undo(a, 0, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_appender_undo(a, UINT64_MAX, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_appender_undo(b, 1, NULL, &err));
  STATUS(KR_OK, kr_appender_undo(a, marks[0], &n, &err));
  CHECK(n == 0);
  /* bad calls */
  STATUS(KR_ERR_INVALID, kr_appender_add(a, NULL, 1, 0, NULL, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_appender_add(a, "a", (size_t)1 << 31, 0, NULL, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_appender_add(a, "a", 1, KR_ADD_SPECIAL, NULL, NULL, &err));
  STATUS(KR_OK, kr_appender_add(a, NULL, 0, 0, NULL, &n, &err));
  CHECK(n == 0);
  STATUS(KR_OK, kr_appender_add(b, "<|im_end|>", 10, 0, NULL, &n, &err));
  CHECK(n > 1);
  PLAIN(KR_ERR_INVALID, kr_decoder_close((kr_decoder *)a));
  PLAIN(KR_OK, kr_appender_close(a));
  PLAIN(KR_OK, kr_appender_close(b));
  PLAIN(KR_ERR_CLOSED, kr_appender_close(a));
  STATUS(KR_ERR_CLOSED, kr_appender_add(a, "a", 1, 0, NULL, NULL, &err));
  STATUS(KR_ERR_CLOSED, kr_appender_ids(a, 0, ids, &n, &err));
  STATUS(KR_ERR_CLOSED, kr_appender_undo(a, 1, NULL, &err));
}

static kr_decoder *one_decoder;
static kr_appender *one_appender;

static void *careless(void *arg) { /* what is one thread's, from several, and closed under them */
  kr_error err;
  uint32_t ids[8] = {72, 101};
  int i;
  (void)arg;
  for (i = 0; i < 300; i++) {
    char text[256];
    size_t n = sizeof text, k = 8;
    uint64_t mark = 0;
    kr_status st = kr_decoder_next(one_decoder, ids, 2, i % 7 == 0, text, &n, &err);
    CHECK(st == KR_OK || st == KR_ERR_CLOSED || st == KR_ERR_BUFFER);
    st = kr_appender_add(one_appender, "ab <|im_end|>", 13, 0, &mark, NULL, &err);
    CHECK(st == KR_OK || st == KR_ERR_CLOSED);
    st = kr_appender_ids(one_appender, 0, ids, &k, &err);
    CHECK(st == KR_OK || st == KR_ERR_CLOSED || st == KR_ERR_BUFFER);
    st = kr_appender_undo(one_appender, mark, NULL, &err);
    CHECK(st == KR_OK || st == KR_ERR_CLOSED || st == KR_ERR_INVALID);
    if (i == 250) {
      st = kr_decoder_close(one_decoder);
      CHECK(st == KR_OK || st == KR_ERR_CLOSED);
      st = kr_appender_close(one_appender);
      CHECK(st == KR_OK || st == KR_ERR_CLOSED);
    }
  }
  return NULL;
}

void case_shared(void) {
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  pthread_t threads[4];
  int i;
  STATUS(KR_OK, kr_decoder_open(t, KR_SKIP_SPECIAL, &one_decoder, &err));
  STATUS(KR_OK, kr_appender_open(t, 0, &one_appender, &err));
  for (i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, careless, NULL) == 0);
  for (i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  PLAIN(KR_OK, kr_tokenizer_close(t));
}
