#include "misuse.h"

void case_sizes(void) { /* struct_size */
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  kr_engine *e = open_engine(), *e2 = (kr_engine *)&err;
  kr_stream *s = (kr_stream *)&err;
  static const uint32_t wrong[] = {0, 1, 3, 4, 8, 48, 65537, 0x7fffffff, 0x80000000u, UINT32_MAX};
  size_t i, n = 0;
  for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    kr_tokenizer_info info = {0};
    kr_template_params tp = {0};
    kr_engine_params ep = {0};
    kr_request r = {0};
    kr_stats stats = {0};
    kr_token tok = {0};
    info.struct_size = tp.struct_size = ep.struct_size = r.struct_size = stats.struct_size = tok.struct_size = wrong[i];
    STATUS(KR_ERR_INVALID, kr_tokenizer_describe(t, &info, &err));
    STATUS(KR_ERR_INVALID, kr_template_apply(t, &tp, NULL, &n, &err));
    STATUS(KR_ERR_INVALID, kr_engine_open(&ep, &e2, &err));
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err));
    STATUS(KR_ERR_INVALID, kr_engine_stats(e, &stats, &err));
    CHECK(e2 == NULL && s == NULL);
    s = start(e, "a", 1);
    STATUS(KR_ERR_INVALID, kr_stream_next(s, &tok, -1, &err));
    PLAIN(KR_OK, kr_stream_close(s));
  }
  { /* one byte less than the first version */
    kr_request r = {0};
    r.struct_size = offsetof(kr_request, tenant) - 1;
    r.raw = str("a");
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err));
  }
  { /* a caller of the first version: what came later is neither read nor written */
    kr_request r;
    kr_engine_params ep;
    kr_stats stats;
    memset(&r, 0xee, sizeof r);
    memset(&r, 0, offsetof(kr_request, tenant));
    r.struct_size = offsetof(kr_request, tenant);
    r.raw = str("a");
    r.max_tokens = 1;
    STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
    PLAIN(KR_OK, kr_stream_close(s));
    memset(&ep, 0xee, sizeof ep);
    memset(&ep, 0, offsetof(kr_engine_params, kv_type));
    ep.struct_size = offsetof(kr_engine_params, kv_type);
    ep.model = str(model_path);
    ep.context_tokens = 64;
    STATUS(KR_OK, kr_engine_open(&ep, &e2, &err));
    memset(&stats, 0xee, sizeof stats);
    stats.struct_size = offsetof(kr_stats, restored_tokens);
    STATUS(KR_OK, kr_engine_stats(e2, &stats, &err));
    CHECK(stats.context_tokens == 64 && stats.restored_tokens == 0xeeeeeeeeeeeeeeeeu);
    PLAIN(KR_OK, kr_engine_close(e2));
  }
  { /* a caller from the future: what the library does not know is neither read nor written */
    struct { kr_request r; unsigned char more[64]; } big;
    struct { kr_tokenizer_info info; unsigned char more[64]; } out;
    memset(&big, 0, sizeof big);
    memset(big.more, 0xee, sizeof big.more);
    big.r.struct_size = sizeof big;
    big.r.raw = str("a");
    big.r.max_tokens = 1;
    STATUS(KR_OK, kr_engine_start(e, &big.r, &s, &err));
    PLAIN(KR_OK, kr_stream_close(s));
    memset(&out, 0xee, sizeof out);
    out.info.struct_size = sizeof out;
    STATUS(KR_OK, kr_tokenizer_describe(t, &out.info, &err));
    CHECK(out.info.struct_size == sizeof out && out.info.size > 1000 && out.info.n_end_ids > 0);
    for (i = 0; i < sizeof out.more; i++) CHECK(out.more[i] == 0xee);
  }
  PLAIN(KR_OK, kr_engine_close(e));
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

void case_buffers(void) { /* too small by any amount: nothing written, the exact size reported */
  static const char text[] = "The quick brown fox jumps over the lazy dog. \xc3\x84hm \xf0\x9f\x98\x80 <|im_end|>";
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  uint32_t ids[128];
  size_t need = 0, cap, i, n;
  char back[256];
  STATUS(KR_ERR_BUFFER, kr_tokenizer_encode(t, text, sizeof text - 1, 0, NULL, &need, &err));
  CHECK(need > 10 && need < 128);
  for (cap = 0; cap <= need + 1; cap++) {
    uint32_t *exact = malloc(cap * sizeof *exact + 1); /* ASan sees one element too many */
    memset(exact, 0xab, cap * sizeof *exact);
    n = cap;
    STATUS(cap < need ? KR_ERR_BUFFER : KR_OK, kr_tokenizer_encode(t, text, sizeof text - 1, 0, exact, &n, &err));
    CHECK(n == need);
    for (i = cap < need ? 0 : need; i < cap; i++) CHECK(exact[i] == 0xabababab);
    if (cap >= need) memcpy(ids, exact, need * sizeof *ids);
    free(exact);
  }
  n = 12345;
  STATUS(KR_OK, kr_tokenizer_count(t, text, sizeof text - 1, 0, &n, &err));
  CHECK(n == need);
  for (cap = 0; cap <= sizeof text; cap++) {
    char *exact = malloc(cap + 1);
    memset(exact, 'x', cap + 1);
    n = cap;
    STATUS(cap < sizeof text - 1 ? KR_ERR_BUFFER : KR_OK, kr_tokenizer_decode(t, ids, need, 0, exact, &n, &err));
    CHECK(n == sizeof text - 1);
    CHECK(cap < n ? exact[0] == 'x' || cap == 0 : memcmp(exact, text, n) == 0);
    CHECK(exact[cap] == 'x'); /* no NUL is added */
    free(exact);
  }
  { /* batch: three texts, one of them empty */
    kr_str texts[3];
    size_t offsets[4], total = 0;
    uint32_t out[256];
    texts[0] = str("one two");
    texts[1].data = NULL;
    texts[1].len = 0;
    texts[2] = str(text);
    STATUS(KR_ERR_BUFFER, kr_tokenizer_encode_batch(t, texts, 3, 0, 4, NULL, &total, offsets, &err));
    CHECK(offsets[0] == 0 && offsets[1] == offsets[2] && offsets[3] == total && offsets[3] - offsets[2] == need);
    n = total - 1;
    STATUS(KR_ERR_BUFFER, kr_tokenizer_encode_batch(t, texts, 3, 0, 1, out, &n, offsets, &err));
    CHECK(n == total);
    STATUS(KR_OK, kr_tokenizer_encode_batch(t, texts, 3, 0, 0, out, &n, offsets, &err));
    CHECK(memcmp(out + offsets[2], ids, need * sizeof *ids) == 0);
    n = 0;
    STATUS(KR_OK, kr_tokenizer_encode_batch(t, NULL, 0, 0, 0, NULL, &n, offsets, &err));
    CHECK(n == 0 && offsets[0] == 0);
    texts[1].len = 7; /* NULL with a length, in the middle */
    n = 256;
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_batch(t, texts, 3, 0, 2, out, &n, offsets, &err));
    CHECK(strstr(err.message, "text 1"));
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_batch(t, texts, 1, 0, -1, out, &n, offsets, &err));
  }
  { /* pieces and ids */
    int32_t special = 9;
    uint32_t id = 7;
    STATUS(KR_OK, kr_tokenizer_token_id(t, "<|im_end|>", 10, &id, &err));
    CHECK(id != KR_NO_ID);
    n = 9;
    STATUS(KR_ERR_BUFFER, kr_tokenizer_piece(t, id, back, &n, &special, &err));
    CHECK(n == 10);
    STATUS(KR_OK, kr_tokenizer_piece(t, id, back, &n, &special, &err));
    CHECK(special == 1 && memcmp(back, "<|im_end|>", 10) == 0);
    STATUS(KR_OK, kr_tokenizer_token_id(t, "no such token, surely", 21, &id, &err));
    CHECK(id == KR_NO_ID);
    n = sizeof back;
    STATUS(KR_ERR_INVALID, kr_tokenizer_piece(t, 0x7fffffff, back, &n, NULL, &err));
    STATUS(KR_ERR_INVALID, kr_tokenizer_piece(t, KR_NO_ID, back, &n, NULL, &err));
  }
  { /* template */
    kr_message m[2];
    kr_template_params p = {0};
    char rendered[2048];
    size_t size = 0;
    memset(m, 0, sizeof m);
    m[0].role = str("system");
    m[0].content = str("Be brief.");
    m[1].role = str("user");
    m[1].content = str("Hi");
    p.struct_size = sizeof p;
    p.messages = m;
    p.n_messages = 2;
    STATUS(KR_ERR_BUFFER, kr_template_apply(t, &p, NULL, &size, &err));
    n = size - 1;
    STATUS(KR_ERR_BUFFER, kr_template_apply(t, &p, rendered, &n, &err));
    CHECK(n == size);
    STATUS(KR_OK, kr_template_apply(t, &p, rendered, &n, &err));
    rendered[n] = 0;
    CHECK(strcmp(rendered, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                           "<|im_start|>assistant\n") == 0);
    p.flags = KR_NO_GENERATION_PROMPT;
    n = sizeof rendered;
    STATUS(KR_OK, kr_template_apply(t, &p, rendered, &n, &err));
    CHECK(n == size - strlen("<|im_start|>assistant\n"));
    p.flags = 64;
    STATUS(KR_ERR_INVALID, kr_template_apply(t, &p, rendered, &n, &err));
    p.flags = 0;
    p.kwargs = str("[1]");
    STATUS(KR_ERR_INVALID, kr_template_apply(t, &p, rendered, &n, &err));
    p.kwargs = str("{\"a\":");
    STATUS(KR_ERR_INVALID, kr_template_apply(t, &p, rendered, &n, &err));
  }
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

void case_lengths(void) { /* lengths that no text has */
  static const size_t huge[] = {(size_t)1 << 31, (size_t)1 << 40, SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX};
  kr_error err;
  kr_tokenizer *t = open_tokenizer(), *t2;
  kr_engine *e = open_engine();
  kr_stream *s;
  uint32_t ids[4] = {0}, id;
  size_t i, n, offsets[2];
  char text[8];
  for (i = 0; i < sizeof huge / sizeof *huge; i++) {
    kr_str one = {"a", 1};
    kr_request r = {0};
    n = 4;
    STATUS(KR_ERR_INVALID, kr_tokenizer_open("x", huge[i], &t2, &err));
    STATUS(KR_ERR_INVALID, kr_tokenizer_open_bytes("x", huge[i], &t2, &err));
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode(t, "a", huge[i], 0, ids, &n, &err));
    STATUS(KR_ERR_INVALID, kr_tokenizer_count(t, "a", huge[i], 0, &n, &err));
    STATUS(KR_ERR_INVALID, kr_tokenizer_decode(t, ids, huge[i], 0, text, &n, &err));
    STATUS(KR_ERR_INVALID, kr_tokenizer_token_id(t, "a", huge[i], &id, &err));
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_batch(t, &one, huge[i], 0, 1, ids, &n, offsets, &err));
    one.len = huge[i];
    STATUS(KR_ERR_INVALID, kr_tokenizer_encode_batch(t, &one, 1, 0, 1, ids, &n, offsets, &err));
    n = huge[i]; /* a capacity may be as large as it likes */
    STATUS(KR_OK, kr_tokenizer_encode(t, "a", 1, 0, ids, &n, &err));
    CHECK(n == 1);
    r.struct_size = sizeof r;
    r.raw.data = "a";
    r.raw.len = huge[i];
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err));
    r.raw.data = NULL;
    r.raw.len = 0;
    r.prompt = ids;
    r.n_prompt = huge[i];
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err));
    r.n_prompt = 1;
    r.stop = &one;
    r.n_stop = huge[i];
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err));
    r.n_stop = 1;
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err));
    r.n_stop = 0;
    r.n_logit_bias = huge[i];
    STATUS(KR_ERR_INVALID, kr_engine_start(e, &r, &s, &err));
  }
  PLAIN(KR_OK, kr_engine_close(e));
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

void case_text(void) { /* bytes that are no text */
  kr_error err;
  kr_tokenizer *t = open_tokenizer();
  unsigned char bytes[512];
  uint32_t ids[1024], clean[1024];
  size_t i, n, m;
  for (i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 167 + i / 256 * 31);
  n = 1024;
  STATUS(KR_OK, kr_tokenizer_encode(t, (const char *)bytes, sizeof bytes, 0, ids, &n, &err));
  CHECK(n > 100);
  n = m = 1024; /* a damaged character is U+FFFD */
  STATUS(KR_OK, kr_tokenizer_encode(t, "a\xff" "b", 3, 0, ids, &n, &err));
  STATUS(KR_OK, kr_tokenizer_encode(t, "a\xef\xbf\xbd" "b", 5, 0, clean, &m, &err));
  CHECK(n == m && memcmp(ids, clean, n * sizeof *ids) == 0);
  n = 1024;
  STATUS(KR_OK, kr_tokenizer_encode(t, "\0\0\0", 3, 0, ids, &n, &err));
  n = 1024;
  STATUS(KR_OK, kr_tokenizer_encode(t, "", 0, 0, ids, &n, &err));
  CHECK(n == 0);
  STATUS(KR_OK, kr_tokenizer_encode(t, NULL, 0, 0, NULL, &n, &err));
  /* special tokens in the text: recognised, text, refused */
  n = 1024;
  STATUS(KR_OK, kr_tokenizer_encode(t, "<|im_end|>", 10, 0, ids, &n, &err));
  CHECK(n == 1);
  n = 1024;
  STATUS(KR_OK, kr_tokenizer_encode(t, "<|im_end|>", 10, KR_SPECIAL_TEXT, ids, &n, &err));
  CHECK(n > 1);
  n = 1024;
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode(t, "<|im_end|>", 10, KR_SPECIAL_REFUSE, ids, &n, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode(t, "a", 1, KR_SPECIAL_REFUSE | KR_SPECIAL_TEXT, ids, &n, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_encode(t, "a", 1, 0x80000000u, ids, &n, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_decode(t, ids, 1, 2, (char *)bytes, &n, &err));
  { /* ids that are none */
    const uint32_t none[3] = {UINT32_MAX, 0x7fffffff, 1u << 24};
    n = sizeof bytes;
    STATUS(KR_OK, kr_tokenizer_decode(t, none, 3, 0, (char *)bytes, &n, &err));
    CHECK(n == 0);
  }
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

static void tokenizer_params(void) {
  kr_error err;
  kr_tokenizer *t = (kr_tokenizer *)&err;
  kr_tokenizer_params p = {0};
  size_t n = 0;
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(NULL, &t, &err));
  CHECK(t == NULL);
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(&p, &t, &err)); /* no struct_size */
  p.struct_size = sizeof p;
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(&p, NULL, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(&p, &t, &err)); /* neither path nor data */
  CHECK(strstr(err.message, "path"));
  p.data = "{}";
  p.len = 2;
  STATUS(KR_ERR_FORMAT, kr_tokenizer_open_params(&p, &t, &err));
  p.path = str(tokenizer_path);
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(&p, &t, &err)); /* both */
  p.data = NULL;
  p.threads = -1;
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(&p, &t, &err));
  CHECK(strstr(err.message, "threads"));
  p.threads = 1;
  p.min_parallel_bytes = -1;
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(&p, &t, &err));
  p.min_parallel_bytes = INT64_MAX;
  p.cache_bytes = INT64_MIN;
  p.prepared_dir.data = "a\0b";
  p.prepared_dir.len = 3;
  STATUS(KR_ERR_INVALID, kr_tokenizer_open_params(&p, &t, &err));
  CHECK(strstr(err.message, "prepared_dir"));
  p.prepared_dir = str("/dev/null/no"); /* cannot be used, which is no error */
  STATUS(KR_OK, kr_tokenizer_open_params(&p, &t, &err));
  STATUS(KR_OK, kr_tokenizer_count(t, "one two", 7, 0, &n, &err));
  CHECK(n > 0);
  PLAIN(KR_OK, kr_tokenizer_close(t));
}

void case_files(void) { /* files that are none */
  kr_error err;
  kr_tokenizer *t = (kr_tokenizer *)&err;
  kr_engine *e = (kr_engine *)&err;
  kr_engine_params p = {0};
  char junk[4096];
  size_t i;
  for (i = 0; i < sizeof junk; i++) junk[i] = (char)(i * 31);
  STATUS(KR_ERR_NOT_FOUND, kr_tokenizer_open("/no/such/file", 13, &t, &err));
  CHECK(strstr(err.message, "/no/such/file") && t == NULL);
  STATUS(KR_ERR_INVALID, kr_tokenizer_open("", 0, &t, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_open("a\0b", 3, &t, &err));
  STATUS(KR_ERR_INVALID, kr_tokenizer_open("\xff\xfe", 2, &t, &err));
  STATUS(KR_ERR_FORMAT, kr_tokenizer_open_bytes(junk, sizeof junk, &t, &err));
  STATUS(KR_ERR_FORMAT, kr_tokenizer_open_bytes("{}", 2, &t, &err));
  STATUS(KR_ERR_FORMAT, kr_tokenizer_open_bytes("GGUF", 4, &t, &err));
  STATUS(KR_ERR_FORMAT, kr_tokenizer_open_bytes("", 0, &t, &err));
  tokenizer_params();
  p.struct_size = sizeof p;
  STATUS(KR_ERR_INVALID, kr_engine_open(&p, &e, &err)); /* no model */
  p.model = str("/no/such/model.gguf");
  STATUS(KR_ERR_NOT_FOUND, kr_engine_open(&p, &e, &err));
  p.model = str(model_path);
  p.backend = str("abacus");
  STATUS(KR_ERR_UNSUPPORTED, kr_engine_open(&p, &e, &err));
  CHECK(strstr(err.message, "abacus") && e == NULL);
  p.backend = str("");
  p.threads = -1;
  STATUS(KR_ERR_INVALID, kr_engine_open(&p, &e, &err));
  p.threads = 0;
  p.flags = 1u << 31;
  STATUS(KR_ERR_INVALID, kr_engine_open(&p, &e, &err));
}
