/* krserve.h: the published C interface of krserve. What is not declared here is not public.
**
** Memory    The caller frees nothing but handles, each by its kr_X_close. Buffers of the caller are borrowed for the
**           length of one call. Strings are UTF-8 with a length in bytes and need no NUL; a length above 2^31-1 is
**           KR_ERR_INVALID. Where a function fills a buffer, *n is the capacity on entry and the size on return;
**           when the capacity is too small nothing is written, *n holds the size needed and KR_ERR_BUFFER is
**           returned. A NULL buffer with *n = 0 asks for the size.
** Errors    A function that can fail returns kr_status: 0 success, >0 an outcome that is no failure, <0 a failure.
**           `err` may be NULL; otherwise err->code is the status returned, and err->message, ended by NUL, says what
**           failed, where and why ("" on success). No call prints, exits or aborts; no error state is kept anywhere.
** Params    A struct that starts with struct_size is passed by pointer, with struct_size = sizeof it. Zero is the
**           default in every field, so a zeroed struct with its struct_size is complete. Fields are only ever appended;
**           the library reads and writes the first struct_size bytes of what it knows.
** Threads   Any thread may call. Engine and tokenizer handles may be used by many threads at once; a stream, a
**           decoder and an appender by one at a time, except for kr_stream_cancel and kr_stream_close, which any
**           thread may call at any time.
** Handles   Opaque ids shown as pointers, checked for kind and age by every call: a closed one gives KR_ERR_CLOSED,
**           anything else that is not a live handle of the right kind KR_ERR_INVALID. Closing NULL is a no-op.
** Process   The library holds a Go runtime, and one process can hold one: do not load a second Go shared library,
**           do not dlclose this one, do not use it in a child of fork() (fork followed by exec is fine).
*/
#ifndef KRSERVE_H
#define KRSERVE_H

#include <stddef.h>
#include <stdint.h>

#ifndef KR_API
#  if defined(_WIN32)
#    define KR_API __declspec(dllimport)
#  else
#    define KR_API __attribute__((visibility("default")))
#  endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define KR_VERSION        "0.1.0"
#define KR_VERSION_NUMBER 1000 /* major * 1000000 + minor * 1000 + patch */
#define KR_ABI_VERSION    1    /* raised only when a declaration below changes or goes */

typedef int32_t kr_status;
enum {
  KR_OK              = 0,
  KR_DONE            = 1,   /* the stream has ended; its summary is in the kr_token */
  KR_TIMEOUT         = 2,   /* nothing within timeout_ms; call again */
  KR_ERR_INVALID     = -1,  /* an argument or field is out of range, or a handle is no handle; message names it */
  KR_ERR_CLOSED      = -2,  /* the handle, or the engine under the stream, is closed */
  KR_ERR_BUFFER      = -3,  /* the buffer is too small; *n holds the size needed */
  KR_ERR_NOT_FOUND   = -4,  /* no such file or model, or not in the cache and not to be fetched */
  KR_ERR_FORMAT      = -5,  /* the file is damaged or of an unknown kind */
  KR_ERR_UNSUPPORTED = -6,  /* a model, storage type, backend or kernel that this build lacks */
  KR_ERR_CONTEXT     = -7,  /* the prompt leaves no room for an answer */
  KR_ERR_NO_TEMPLATE = -8,  /* messages for a model without a chat template; use raw */
  KR_ERR_TEMPLATE    = -9,  /* the chat template rejects the messages */
  KR_ERR_MEMORY      = -10, /* the model does not fit the memory it may use; message says what would */
  KR_ERR_BACKEND     = -11, /* a step failed in the backend */
  KR_ERR_CANCELLED   = -12, /* the stream was cancelled */
  KR_ERR_IO          = -13, /* the file system or the network failed */
  KR_ERR_BUSY        = -14, /* too many requests are waiting; try again later */
  KR_ERR_INTERNAL    = -99  /* a defect of the library; message says where */
};

typedef struct kr_error { /* owned by the caller; frozen at 256 bytes */
  int32_t code;
  char    message[252];
} kr_error;

typedef struct kr_tokenizer kr_tokenizer;
typedef struct kr_pool      kr_pool;
typedef struct kr_decoder   kr_decoder;
typedef struct kr_appender  kr_appender;
typedef struct kr_engine    kr_engine;
typedef struct kr_stream    kr_stream;

typedef struct kr_str { /* frozen. A borrowed UTF-8 string; {NULL, 0} is the default or the empty string */
  const char *data;
  size_t      len;
} kr_str;

/* ---- version ---- */

KR_API const char *kr_version(void);        /* KR_VERSION of the library that runs */
KR_API uint32_t    kr_version_number(void); /* KR_VERSION_NUMBER of the same */
KR_API uint32_t    kr_abi_version(void);    /* KR_ABI_VERSION of the same: must equal the header's */
KR_API const char *kr_status_name(kr_status status); /* "KR_ERR_FORMAT"; "KR_UNKNOWN" for other numbers */

/* ---- tokenizer: immutable, no model needed ---- */

enum { /* flags of the tokenizer's calls */
  KR_ADD_SPECIAL     = 1, /* encode: add what the model's post-processor adds, such as the begin token */
  KR_SPECIAL_TEXT    = 2, /* encode: special tokens spelled in the text are plain text, not recognised */
  KR_SPECIAL_REFUSE  = 4, /* encode: special tokens spelled in the text are KR_ERR_INVALID */
  KR_SKIP_SPECIAL    = 8  /* decode: leave special tokens out */
};

/* path: a tokenizer.json or its directory, a GGUF, a .tiktoken or a SentencePiece .model. */
KR_API kr_status kr_tokenizer_open(const char *path, size_t path_len, kr_tokenizer **out, kr_error *err);
/* The same from memory; the bytes are not needed afterwards. */
KR_API kr_status kr_tokenizer_open_bytes(const void *data, size_t len, kr_tokenizer **out, kr_error *err);

typedef struct kr_tokenizer_params { /* either path or data is set */
  uint32_t    struct_size;
  int32_t     threads;            /* that one long text, or a batch, is encoded on; 0: one per core */
  kr_str      path;               /* as kr_tokenizer_open takes it */
  const void *data;               /* as kr_tokenizer_open_bytes takes it, `len` bytes */
  size_t      len;
  int64_t     cache_bytes;        /* bound on the cache of pieces; 0: 32 MiB, below 0: none to speak of */
  int64_t     min_parallel_bytes; /* shorter texts are encoded on one thread; 0: 64 KiB */
  kr_str      prepared_dir;       /* keeps what path holds in compiled form, which loads ten times faster; default: nothing
                                  ** is kept. A folder that cannot be used is no error */
} kr_tokenizer_params;

KR_API kr_status kr_tokenizer_open_params(const kr_tokenizer_params *p, kr_tokenizer **out, kr_error *err);
KR_API kr_status kr_tokenizer_close(kr_tokenizer *t);

/* Invalid UTF-8 is read as U+FFFD. A buffer of len + 16 ids is enough for byte-level vocabularies. */
KR_API kr_status kr_tokenizer_encode(kr_tokenizer *t, const char *text, size_t len, uint32_t flags, uint32_t *ids,
                                     size_t *n, kr_error *err);
/* Encodes n_texts texts on `threads` threads (0: one per core). The ids of text i are ids[offsets[i]] up to, not
** including, ids[offsets[i + 1]]; offsets has n_texts + 1 elements. With KR_ERR_BUFFER the offsets are filled, too. */
KR_API kr_status kr_tokenizer_encode_batch(kr_tokenizer *t, const kr_str *texts, size_t n_texts, uint32_t flags,
                                           int32_t threads, uint32_t *ids, size_t *n, size_t *offsets, kr_error *err);
/* The number of ids that kr_tokenizer_encode gives. */
KR_API kr_status kr_tokenizer_count(kr_tokenizer *t, const char *text, size_t len, uint32_t flags, size_t *n,
                                    kr_error *err);
/* The same up to a limit: *n is limit + 1 as soon as there are more ids than limit, and the rest is not encoded. */
KR_API kr_status kr_tokenizer_count_up_to(kr_tokenizer *t, const char *text, size_t len, uint32_t flags, size_t limit,
                                          size_t *n, kr_error *err);

enum { /* further flags of kr_encode_params */
  KR_CHAR_OFFSETS  = 16,  /* begins and ends count code points instead of bytes */
  KR_TRUNCATE      = 32,  /* keep at most max_tokens, those of the post-processor included */
  KR_TRUNCATE_LEFT = 64,  /* drop tokens at the beginning instead of the end */
  KR_PAD           = 128, /* fill up to pad_to tokens */
  KR_PAD_LEFT      = 256  /* fill at the beginning */
};
enum { KR_LONGEST_FIRST = 0, KR_ONLY_FIRST = 1, KR_ONLY_SECOND = 2 }; /* which text of a pair is truncated */
enum { /* bits of kr_encoding.marks */
  KR_TOKEN_SPECIAL = 1, /* added by the post-processor or as padding */
  KR_TOKEN_PADDING = 2
};

typedef struct kr_encode_params {
  uint32_t      struct_size;
  uint32_t      flags;
  const kr_str *texts;
  const kr_str *pairs;           /* NULL, or n_texts second texts, joined to the first as the post-processor says */
  size_t        n_texts;
  uint32_t      max_tokens;      /* with KR_TRUNCATE */
  uint32_t      stride;          /* tokens that neighbouring parts of a truncated text share */
  uint32_t      strategy;        /* KR_LONGEST_FIRST, … */
  uint32_t      pad_to;          /* with KR_PAD; 0: as many as the longest text has */
  uint32_t      pad_multiple_of; /* that rounded up to a multiple; 0: off */
  uint32_t      pad_id;
  uint32_t      pad_type;
  uint32_t      reserved;
} kr_encode_params;

/* Tokens of many texts, one after another. Each text is one part, followed by what truncation cut off from it, a part
** each. The buffers are the caller's, each may be NULL; of a buffer nothing is written beyond n or n_parts. */
typedef struct kr_encoding {
  uint32_t  struct_size;
  uint32_t  reserved;
  size_t    cap;       /* in: elements of ids, types, begins, ends, words and marks */
  size_t    n;         /* out: tokens of all parts; with KR_ERR_BUFFER the cap that is needed */
  uint32_t *ids;
  uint32_t *types;     /* 0 in the first text of a pair, 1 in the second, or as the post-processor says */
  uint32_t *begins;    /* where in its text a token begins; 0 for what was added */
  uint32_t *ends;      /* and where it ends */
  int32_t  *words;     /* number of the pre-tokenizer's piece that holds it; -1 for what was added */
  uint8_t  *marks;     /* KR_TOKEN_… */
  size_t    parts_cap; /* in: elements of parts and part_texts */
  size_t    n_parts;   /* out: parts; with KR_ERR_BUFFER the parts_cap that is needed is n_parts + 1 */
  size_t   *parts;     /* part i is tokens parts[i] up to, not including, parts[i + 1]; n_parts + 1 are written */
  size_t   *part_texts; /* number of the text that part i is of; n_parts are written */
} kr_encoding;

/* Encodes with offsets, truncation and padding. Offsets count bytes or code points of the caller's text, in which an
** invalid part (Unicode 3.9) is one code point. Texts share the machine's cores. */
KR_API kr_status kr_tokenizer_encode_full(kr_tokenizer *t, const kr_encode_params *p, kr_encoding *out, kr_error *err);

typedef struct kr_tokenizer_counters {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t encodes;
  uint64_t bytes;  /* of text */
  uint64_t tokens;
  double   seconds; /* within encode calls, summed over threads */
  uint64_t cache_hits;
  uint64_t cache_misses;
} kr_tokenizer_counters;

/* What the tokenizer has encoded since it was made or reset; reset 1 sets the counters to zero afterwards. */
KR_API kr_status kr_tokenizer_stats(kr_tokenizer *t, int32_t reset, kr_tokenizer_counters *out, kr_error *err);

/* Ids without a token decode to nothing. */
KR_API kr_status kr_tokenizer_decode(kr_tokenizer *t, const uint32_t *ids, size_t n_ids, uint32_t flags, char *text,
                                     size_t *len, kr_error *err);

/* Decoding id by id, for one thread at a time: what kr_decoder_next gives, one after another, is what
** kr_tokenizer_decode gives for all ids, and never ends within a character. flags: 0 or KR_SKIP_SPECIAL. A decoder
** outlives its tokenizer. */
KR_API kr_status kr_decoder_open(kr_tokenizer *t, uint32_t flags, kr_decoder **out, kr_error *err);
/* Takes ids, and with last = 1 ends the text, so that the next one may begin. With KR_ERR_BUFFER the ids are taken;
** their text is kept and comes first with the next call, which may pass none. */
KR_API kr_status kr_decoder_next(kr_decoder *d, const uint32_t *ids, size_t n_ids, int32_t last, char *text, size_t *len,
                                 kr_error *err);
KR_API kr_status kr_decoder_close(kr_decoder *d);

/* A text that grows, such as a chat, for one thread at a time. flags: 0, or KR_SPECIAL_TEXT to take special tokens as
** text throughout. An appender outlives its tokenizer. */
KR_API kr_status kr_appender_open(kr_tokenizer *t, uint32_t flags, kr_appender **out, kr_error *err);
/* Adds text. With KR_SPECIAL_TEXT its special tokens are text, as those of a message's content should be. *mark, unless
** mark is NULL, becomes a mark of the state before; *n_ids, unless NULL, the number of ids that the whole text has. */
KR_API kr_status kr_appender_add(kr_appender *a, const char *text, size_t len, uint32_t flags, uint64_t *mark,
                                 size_t *n_ids, kr_error *err);
/* The ids of the whole text, as one kr_tokenizer_encode would give them, from number `from` on. */
KR_API kr_status kr_appender_ids(kr_appender *a, size_t from, uint32_t *ids, size_t *n, kr_error *err);
/* Goes back to a mark, which stays good; marks given after it are void, and KR_ERR_INVALID from then on. */
KR_API kr_status kr_appender_undo(kr_appender *a, uint64_t mark, size_t *n_ids, kr_error *err);
KR_API kr_status kr_appender_close(kr_appender *a);

#define KR_NO_ID UINT32_MAX

typedef struct kr_tokenizer_info {
  uint32_t struct_size;
  uint32_t size;         /* ids are 0 ≤ id < size */
  uint32_t bos;          /* or KR_NO_ID */
  uint32_t eos;          /* or KR_NO_ID */
  uint32_t end_ids[16];  /* all ids that end an answer, n_end_ids of them */
  uint32_t n_end_ids;
  uint32_t has_template; /* 1: there is a chat template */
} kr_tokenizer_info;

KR_API kr_status kr_tokenizer_describe(kr_tokenizer *t, kr_tokenizer_info *out, kr_error *err);
/* The id of a token by its exact spelling, special tokens included; KR_NO_ID when there is none. */
KR_API kr_status kr_tokenizer_token_id(kr_tokenizer *t, const char *piece, size_t len, uint32_t *id, kr_error *err);
/* The spelling of a token as the vocabulary has it: "Ġthe" for " the" in a byte-level one. *special becomes 1 for a special token. special may be NULL. */
KR_API kr_status kr_tokenizer_piece(kr_tokenizer *t, uint32_t id, char *piece, size_t *len, int32_t *special,
                                    kr_error *err);

/* ---- chat template ---- */

typedef struct kr_message { /* frozen; whatever else a template reads goes into extra */
  kr_str role;    /* "system", "user", "assistant", "tool" */
  kr_str content;
  kr_str extra;   /* a JSON object of further fields, such as tool_calls */
} kr_message;

enum { KR_NO_GENERATION_PROMPT = 1 }; /* flag of kr_template_params */

typedef struct kr_template_params {
  uint32_t          struct_size;
  uint32_t          flags;
  const kr_message *messages;
  size_t            n_messages;
  kr_str            tools;  /* a JSON array of tool definitions */
  kr_str            kwargs; /* a JSON object of further template variables */
} kr_template_params;

/* Renders a chat with the tokenizer's template into text, to be encoded with flags = 0. */
KR_API kr_status kr_template_apply(kr_tokenizer *t, const kr_template_params *p, char *text, size_t *len,
                                   kr_error *err);

/* ---- pool: keys and values of several engines, and tiers that keep them longer than memory lasts ---- */

enum { KR_NO_WAIT = 1 }; /* flag of kr_pool_params: a request for which there is no block fails instead of waiting */

typedef struct kr_pool_params {
  uint32_t struct_size;
  uint32_t flags;
  int64_t  bytes;        /* bound on keys and values of all engines; 0: each engine's own kv_bytes */
  int64_t  tenant_bytes; /* each tenant's part of each engine's; 0: no bound */
  int64_t  ttl_ms;       /* a prefix not used for so long is forgotten; 0: never */
  int64_t  host_bytes;   /* tier in main memory; 0: none */
  kr_str   file;         /* path of the tier in a file, which survives restarts; one pool at a time has it open */
  int64_t  file_bytes;   /* its size; 0: 8 GiB */
  kr_str   store;        /* Redis or Valkey that replicas share: redis://[user:password@]host[:port][/db], rediss://…,
                         ** unix://path. It need not answer: a request never fails for it */
  int32_t  store_timeout_ms; /* for a look into the store; 0: 250 */
  int32_t  sequences;        /* most requests that hold keys and values at a time; 0: no bound */
} kr_pool_params;

KR_API kr_status kr_pool_open(const kr_pool_params *p, kr_pool **out, kr_error *err);
/* The pool goes on until its last engine is closed, too; then what is on its way to the tiers is written. */
KR_API kr_status kr_pool_close(kr_pool *p);

typedef struct kr_pool_counters { /* of a tier: records are blocks of 32 tokens */
  uint32_t struct_size;
  uint32_t store_down;    /* 1: the store fails and is left alone for a while */
  uint64_t bytes;         /* of keys and values in the engines' memory */
  uint64_t host_records;
  uint64_t host_hits;
  uint64_t file_records;
  uint64_t file_hits;
  uint64_t file_written;
  uint64_t file_damaged;  /* records that failed their checksum and were dropped */
  uint64_t store_hits;
  uint64_t store_written;
  uint64_t store_damaged;
  uint64_t store_failures; /* calls that failed or took too long */
  uint64_t unwritten;      /* records for which file or store were too slow or broken */
} kr_pool_counters;

KR_API kr_status kr_pool_stats(kr_pool *p, kr_pool_counters *out, kr_error *err);

/* ---- engine ---- */

enum { /* flags of kr_engine_params */
  KR_FETCH   = 1, /* fetch a named model that the cache lacks; otherwise open touches no network */
  KR_OFFLINE = 2, /* never touch the network */
  KR_NO_PACKED_WEIGHTS = 4 /* prepared_dir keeps no packed weights */
};

typedef struct kr_engine_params {
  uint32_t      struct_size;
  int32_t       threads;        /* compute threads; 0: one per physical core that the process may use */
  kr_str        model;          /* a GGUF, a model directory, or a name: "smollm2", "hf:ORG/REPO[/FILE]" */
  kr_str        backend;        /* "cpu", "reference"; default the fastest here */
  kr_str        kernel;         /* forces a kernel variant, such as "AVX2" */
  int64_t       kv_bytes;       /* bound on keys and values; 0: one full context */
  int32_t       context_tokens; /* longest prompt plus answer; 0: the model's own, as far as kv_bytes goes */
  uint32_t      flags;
  kr_tokenizer *tokenizer;      /* replaces the model's own; may be closed after the call */
  kr_str        cache_dir;      /* root of the model cache; default the user's cache directory */
  kr_str        hub_endpoint;   /* Hugging Face endpoint; default the public one */
  kr_str        hub_token;      /* access token; default anonymous */
  kr_str        kv_type;        /* storage of keys and values: "f16", "q8_0", "q4"; default f16 */
  kr_pool      *pool;           /* of several engines, or with tiers; default one of the engine's own. May be closed
                                ** after the call */
  int32_t       activation_bits; /* 16: close to float32; 8: faster prompts, as exact as other engines; 0: 16 */
  uint32_t      reserved;
  kr_str        prepared_dir;   /* keeps the tokenizer compiled and the weights packed as the CPU's kernels take them, for
                                ** later opens: loads and decodes faster, answers the same. Packed weights are as large as
                                ** the model. Default: nothing is kept. A folder that cannot be used is no error */
} kr_engine_params;

KR_API kr_status kr_engine_open(const kr_engine_params *p, kr_engine **out, kr_error *err);
/* Cancels the engine's streams and waits for them. Their handles stay valid, give KR_ERR_CLOSED, and are closed by
** kr_stream_close as ever. */
KR_API kr_status kr_engine_close(kr_engine *e);
/* A handle of its own to the engine's tokenizer, to be closed by kr_tokenizer_close; it outlives the engine. */
KR_API kr_status kr_engine_tokenizer(kr_engine *e, kr_tokenizer **out, kr_error *err);

typedef struct kr_logit_bias { /* frozen */
  uint32_t id;
  float    bias; /* added to the logit */
} kr_logit_bias;

enum { /* flags of kr_request */
  KR_ALLOW_SPECIAL = 1, /* recognise special tokens spelled in the content of messages */
  KR_IGNORE_EOS    = 2, /* the model's own end tokens do not end the answer */
  KR_LOGPROBS      = 4  /* report log-probabilities */
};

typedef struct kr_request { /* exactly one of messages, raw, prompt is set. All zero is greedy, to the end */
  uint32_t             struct_size;
  uint32_t             flags;
  const kr_message    *messages; /* a chat, rendered with the model's template */
  size_t               n_messages;
  kr_str               raw;      /* text, encoded as is; special tokens spelled in it are recognised */
  const uint32_t      *prompt;   /* token ids */
  size_t               n_prompt;
  kr_str               tools;    /* a JSON array of tool definitions for the template */
  kr_str               kwargs;   /* a JSON object of further template variables */
  int32_t              max_tokens;         /* 0: until the context ends */
  float                temperature;        /* 0: greedy */
  int32_t              top_k;              /* 0: off */
  float                top_p;              /* 0: off */
  float                min_p;              /* 0: off */
  float                repetition_penalty; /* 0: 1, off */
  float                presence_penalty;
  float                frequency_penalty;
  uint64_t             seed;   /* 0: random, reported in kr_token */
  uint32_t             choice; /* which of several answers to one request this is; part of the random key */
  int32_t              top_logprobs; /* with KR_LOGPROBS: best tokens to report per step, at most 20 */
  const kr_logit_bias *logit_bias;
  size_t               n_logit_bias;
  const kr_str        *stop;   /* strings that end the answer and are not part of it */
  size_t               n_stop;
  const uint32_t      *stop_ids; /* ids that end the answer, besides the model's own */
  size_t               n_stop_ids;
  kr_str               tenant;   /* finds cached prefixes of its own only; default the one without a name */
  int32_t              priority; /* higher ones come first and push lower ones out */
  uint32_t             reserved;
} kr_request;

KR_API kr_status kr_engine_start(kr_engine *e, const kr_request *r, kr_stream **out, kr_error *err);

typedef struct kr_stats {
  uint32_t struct_size;
  int32_t  threads;
  char     backend[32];    /* ended by NUL */
  uint32_t context_tokens; /* longest prompt plus answer of one request */
  uint32_t running;        /* requests in the present step */
  uint32_t waiting;        /* requests before their first step */
  uint32_t reserved;
  uint64_t weight_bytes;
  uint64_t kv_bytes;       /* committed */
  uint64_t scratch_bytes;
  uint64_t steps;
  uint64_t rows;           /* tokens that went through the model */
  double   step_seconds;   /* time inside steps */
  uint64_t prompt_tokens;  /* of all requests since open */
  uint64_t cached_tokens;  /* those of them whose keys and values were already held */
  uint64_t completion_tokens;
  uint64_t restored_tokens; /* brought back from the pool's tiers */
  uint64_t draft_tokens;    /* guessed from the text before and verified */
  uint64_t accepted_tokens; /* of these, part of an answer */
  uint64_t preemptions;     /* requests that gave their blocks back and went on later */
} kr_stats;

KR_API kr_status kr_engine_stats(kr_engine *e, kr_stats *out, kr_error *err);

/* ---- stream: pulled, so that no library thread ever runs the caller's code ---- */

typedef enum kr_finish {
  KR_FINISH_NONE      = 0, /* not ended */
  KR_FINISH_STOP      = 1, /* an end token, a stop id or a stop string */
  KR_FINISH_LENGTH    = 2, /* max_tokens or the context */
  KR_FINISH_CANCELLED = 3,
  KR_FINISH_ERROR     = 4
} kr_finish;

typedef struct kr_logprob { /* frozen */
  uint32_t id;
  float    logprob; /* natural */
} kr_logprob;

typedef struct kr_token {
  uint32_t    struct_size;
  uint32_t    id;
  float       logprob;  /* of id, before penalties and temperature; with KR_LOGPROBS */
  int32_t     finish;   /* kr_finish */
  char       *text;     /* in: buffer for the text that this token completes, never half a character */
  size_t      text_cap; /* in: its size */
  size_t      text_len; /* out: bytes of text, not ended by NUL; 0 is common. Above text_cap with KR_ERR_BUFFER */
  kr_logprob *top;      /* in: buffer for the best tokens at this position, best first, or NULL */
  size_t      top_cap;  /* in: its elements; 20 always suffice */
  size_t      top_len;  /* out */
  uint64_t    seed;     /* out: the seed in use */
  uint32_t    prompt_tokens; /* out: these three with the end of the stream */
  uint32_t    cached_tokens; /* those prompt tokens whose keys and values were already held */
  uint32_t    completion_tokens;
  uint32_t    reserved;
} kr_token;

/* Waits up to timeout_ms milliseconds (negative: for ever; 0: not at all) for the next token.
** KR_OK: one token. KR_DONE: the end; finish and the token counts are set, and so again by later calls.
** KR_TIMEOUT: nothing yet. KR_ERR_BUFFER: text_len or top_len is the size needed; the token is kept for the next call.
** A failure, KR_ERR_CANCELLED included, is the end, too. */
KR_API kr_status kr_stream_next(kr_stream *s, kr_token *out, int32_t timeout_ms, kr_error *err);
/* Ends the answer within one step; a waiting kr_stream_next returns. */
KR_API kr_status kr_stream_cancel(kr_stream *s);
/* Cancels and frees. A kr_stream_next that waits in another thread returns KR_ERR_CLOSED or KR_ERR_CANCELLED. */
KR_API kr_status kr_stream_close(kr_stream *s);

/* ---- log: the one callback, silent unless set ---- */

enum { KR_LOG_DEBUG = -4, KR_LOG_INFO = 0, KR_LOG_WARN = 4, KR_LOG_ERROR = 8 };

/* Runs on a library thread and must not call the library: such calls give KR_ERR_INVALID. */
typedef void (*kr_log_fn)(void *user, int32_t level, const char *text, size_t len);

/* Sets the callback for the process, NULL for none. When it returns, the previous callback runs no more. */
KR_API kr_status kr_log_set(kr_log_fn fn, void *user, int32_t min_level);

#ifdef __cplusplus
}
#endif
#endif /* KRSERVE_H */
