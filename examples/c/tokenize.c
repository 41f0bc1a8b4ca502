/* Counts the tokens of standard input, and prints their ids with -v:
**
**   cc -Idist examples/c/tokenize.c -o tokenize -Ldist -lkrserve -Wl,-rpath,dist
**   ./tokenize tokenizer.json <README.md
*/
#include <krserve.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const kr_error *err) {
  fprintf(stderr, "%s: %s\n", kr_status_name(err->code), err->message);
  return 1;
}

int main(int argc, char **argv) {
  kr_error err;
  kr_tokenizer *tok;
  char *text = NULL;
  size_t len = 0, cap = 0, n, i;
  uint32_t *ids;

  if (argc < 2) {
    fprintf(stderr, "usage: %s TOKENIZER [-v]\n", argv[0]);
    return 2;
  }
  do {
    if (len == cap && !(text = realloc(text, cap = cap ? 2 * cap : 1 << 16))) return 1;
    len += fread(text + len, 1, cap - len, stdin);
  } while (!feof(stdin) && !ferror(stdin));

  if (kr_tokenizer_open(argv[1], strlen(argv[1]), &tok, &err) < 0) return fail(&err);

  n = len + 16; /* enough for byte-level vocabularies; otherwise KR_ERR_BUFFER says how many */
  ids = malloc(n * sizeof *ids);
  if (kr_tokenizer_encode(tok, text, len, 0, ids, &n, &err) == KR_ERR_BUFFER) {
    ids = realloc(ids, n * sizeof *ids);
    kr_tokenizer_encode(tok, text, len, 0, ids, &n, &err);
  }
  if (err.code < 0) return fail(&err);

  printf("%zu\n", n);
  if (argc > 2 && strcmp(argv[2], "-v") == 0) {
    for (i = 0; i < n; i++) printf("%u\n", (unsigned)ids[i]);
  }
  kr_tokenizer_close(tok);
  free(ids);
  free(text);
  return 0;
}
