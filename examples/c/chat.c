/* Streams a model's answer. It needs krserve.h and the library, nothing else:
**
**   make libkrserve OUT=dist
**   cc -Idist examples/c/chat.c -o chat -Ldist -lkrserve -Wl,-rpath,dist
**   ./chat model.gguf "What is the capital of Japan?"
*/
#include <krserve.h>
#include <stdio.h>
#include <string.h>

static kr_str str(const char *s) {
  kr_str out = {s, strlen(s)};
  return out;
}

int main(int argc, char **argv) {
  kr_error err;
  kr_engine *engine = NULL;
  kr_stream *stream = NULL;
  kr_status status;
  char text[256];

  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
    return 2;
  }
  if (kr_abi_version() != KR_ABI_VERSION) {
    fprintf(stderr, "built for ABI %d, running with %u\n", KR_ABI_VERSION, (unsigned)kr_abi_version());
    return 1;
  }

  kr_engine_params params;
  memset(&params, 0, sizeof params);
  params.struct_size = sizeof params;
  params.model = str(argv[1]);
  status = kr_engine_open(&params, &engine, &err);

  if (status == KR_OK) {
    kr_message message;
    kr_request request;
    memset(&message, 0, sizeof message);
    memset(&request, 0, sizeof request);
    message.role = str("user");
    message.content = str(argv[2]);
    request.struct_size = sizeof request;
    request.messages = &message;
    request.n_messages = 1;
    request.max_tokens = 200;
    status = kr_engine_start(engine, &request, &stream, &err);
  }

  while (status == KR_OK) {
    kr_token token;
    memset(&token, 0, sizeof token);
    token.struct_size = sizeof token;
    token.text = text;
    token.text_cap = sizeof text;
    status = kr_stream_next(stream, &token, -1, &err); /* -1: wait as long as it takes */
    if (status == KR_OK) {
      fwrite(token.text, 1, token.text_len, stdout);
      fflush(stdout);
    } else if (status == KR_DONE) {
      printf("\n");
      fprintf(stderr, "%u tokens in, %u out\n", (unsigned)token.prompt_tokens, (unsigned)token.completion_tokens);
    }
  }

  kr_stream_close(stream); /* closing NULL does nothing */
  kr_engine_close(engine);
  if (status < 0) {
    fprintf(stderr, "%s: %s\n", kr_status_name(status), err.message);
    return 1;
  }
  return 0;
}
