#include "misuse.h"

const char *tokenizer_path, *model_path;

kr_tokenizer *open_tokenizer(void) {
  kr_error err;
  kr_tokenizer *t = NULL;
  STATUS(KR_OK, kr_tokenizer_open(tokenizer_path, strlen(tokenizer_path), &t, &err));
  CHECK(t != NULL);
  return t;
}

kr_engine *open_engine(void) {
  kr_error err;
  kr_engine *e = NULL;
  kr_engine_params p = {0};
  p.struct_size = sizeof p;
  p.model = str(model_path);
  p.context_tokens = 512;
  STATUS(KR_OK, kr_engine_open(&p, &e, &err));
  CHECK(e != NULL);
  return e;
}

kr_stream *start(kr_engine *e, const char *raw, int max_tokens) {
  kr_error err;
  kr_stream *s = NULL;
  kr_request r = {0};
  r.struct_size = sizeof r;
  r.raw = str(raw);
  r.max_tokens = max_tokens;
  r.flags = KR_IGNORE_EOS;
  STATUS(KR_OK, kr_engine_start(e, &r, &s, &err));
  CHECK(s != NULL);
  return s;
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
  {"handles", case_handles}, {"foreign", case_foreign}, {"stale", case_stale}, {"sizes", case_sizes},
  {"buffers", case_buffers}, {"lengths", case_lengths}, {"text", case_text}, {"files", case_files},
  {"requests", case_requests}, {"stream", case_stream}, {"cancel", case_cancel},
  {"close_stream", case_close_stream}, {"close_engine", case_close_engine}, {"threads", case_threads},
  {"log", case_log}, {"panic", case_panic}, {"encoding", case_encoding}, {"limits", case_limits},
  {"decoder", case_decoder}, {"appender", case_appender}, {"shared", case_shared},
  {"pool", case_pool}, {"bad_pool", case_bad_pool},
};

/* misuse CASE TOKENIZER MODEL; without arguments it lists the cases. */
int main(int argc, char **argv) {
  size_t i;
  if (argc < 4) {
    for (i = 0; i < sizeof cases / sizeof *cases; i++) puts(cases[i].name);
    return 0;
  }
  tokenizer_path = argv[2];
  model_path = argv[3];
  CHECK(kr_abi_version() == KR_ABI_VERSION);
  for (i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(argv[1], cases[i].name) == 0) {
      cases[i].run();
      puts("ok");
      return 0;
    }
  }
  return 2;
}
