/* Evaluates generated GGUF files with llama.cpp in float32 and prints testdata/llama_cpp.json.
 *
 *     go test ./internal/model -run GeneratedGGUF -write-peers DIR
 *     cc eval_llama.c -I llama.cpp/include -I llama.cpp/ggml/include -lllama -lggml -lggml-base -lm -o eval_llama
 *     ./eval_llama DIR/NAME.gguf … > llama_cpp.json
 */
#include <llama.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 96, TOP = 20 };

static void quiet(enum ggml_log_level level, const char *text, void *user) {
	(void)user;
	if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static double lse(const float *l, int n) {
	double top = l[0], sum = 0;
	for (int i = 1; i < n; i++) top = fmax(top, l[i]);
	for (int i = 0; i < n; i++) sum += exp(l[i] - top);
	return top + log(sum);
}

static int evaluate(const char *path) {
	struct llama_model *m = llama_model_load_from_file(path, llama_model_default_params());
	if (!m) return 1;
	int vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
	struct llama_context_params p = llama_context_default_params();
	p.n_ctx = p.n_batch = p.n_ubatch = 256;
	p.type_k = p.type_v = GGML_TYPE_F32;
	p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
	struct llama_context *c = llama_init_from_model(m, p);
	struct llama_batch b = llama_batch_init(N, 0, 1);
	b.n_tokens = N;
	for (int i = 0; i < N; i++) {
		b.token[i] = (i * 7919 + 13) % vocab;
		b.pos[i] = i;
		b.n_seq_id[i] = 1;
		b.seq_id[i][0] = 0;
		b.logits[i] = 1;
	}
	if (!c || llama_decode(c, b)) return 1;
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	printf("\"%.*s\":{\"logprobs\":[", (int)(strlen(name) - strlen(".gguf")), name);
	for (int i = 0; i + 1 < N; i++) {
		const float *l = llama_get_logits_ith(c, i);
		printf("%s%.5f", i ? "," : "", l[b.token[i + 1]] - lse(l, vocab));
	}
	printf("],\"top\":[");
	float *l = llama_get_logits_ith(c, N - 1);
	double z = lse(l, vocab);
	for (int k = 0; k < TOP; k++) {
		int best = 0;
		for (int i = 1; i < vocab; i++)
			if (l[i] > l[best]) best = i;
		printf("%s[%d,%.5f]", k ? "," : "", best, l[best] - z);
		l[best] = -INFINITY;
	}
	printf("]}");
	llama_batch_free(b);
	llama_free(c);
	llama_model_free(m);
	return 0;
}

int main(int argc, char **argv) {
	llama_log_set(quiet, NULL);
	llama_backend_init();
	putchar('{');
	for (int i = 1; i < argc; i++) {
		if (i > 1) putchar(',');
		if (evaluate(argv[i])) return fprintf(stderr, "%s failed\n", argv[i]), 1;
	}
	puts("}");
	return 0;
}
