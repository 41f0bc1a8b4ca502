/* Callers that do everything wrong: each case expects a return code. Built with ASan and UBSan by misuse_test.go. */
#ifndef MISUSE_H
#define MISUSE_H

#include <krserve.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const char *tokenizer_path, *model_path;

#define CHECK(cond) \
  do { \
    if (!(cond)) { \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
      exit(1); \
    } \
  } while (0)

/* The status of a call that takes err as its last argument, which must agree with it. */
#define STATUS(want, callexpr) \
  do { \
    kr_status got_, want_ = (want); \
    memset(&err, 0x7f, sizeof err); \
    got_ = (callexpr); \
    if (got_ != want_ || err.code != got_ || !memchr(err.message, 0, sizeof err.message) || \
        (got_ < 0) != (err.message[0] != 0)) { \
      fprintf(stderr, "%s:%d: %s: %s, want %s (%.200s)\n", __FILE__, __LINE__, #callexpr, kr_status_name(got_), \
              kr_status_name(want_), err.code == got_ ? err.message : "err.code differs"); \
      exit(1); \
    } \
  } while (0)

/* A call without err. */
#define PLAIN(want, callexpr) \
  do { \
    kr_status got_ = (callexpr); \
    if (got_ != (want)) { \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #callexpr, kr_status_name(got_)); \
      exit(1); \
    } \
  } while (0)

static inline kr_str str(const char *s) {
  kr_str out;
  out.data = s;
  out.len = strlen(s);
  return out;
}

kr_tokenizer *open_tokenizer(void);
kr_engine *open_engine(void);
kr_stream *start(kr_engine *e, const char *raw, int max_tokens);

void case_handles(void);
void case_foreign(void);
void case_stale(void);
void case_sizes(void);
void case_buffers(void);
void case_lengths(void);
void case_text(void);
void case_files(void);
void case_requests(void);
void case_stream(void);
void case_cancel(void);
void case_close_stream(void);
void case_close_engine(void);
void case_threads(void);
void case_log(void);
void case_panic(void);
void case_encoding(void);
void case_limits(void);
void case_decoder(void);
void case_appender(void);
void case_shared(void);
void case_pool(void);
void case_bad_pool(void);

#endif
