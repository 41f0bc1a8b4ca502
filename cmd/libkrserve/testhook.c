//go:build krtest

/* The public side of the hooks, in test builds of the library alone. */
#include "_cgo_export.h"

__attribute__((visibility("default"))) void kr_test_panic(const char *function);
__attribute__((visibility("default"))) void kr_test_log(int32_t level, const char *text);

void kr_test_panic(const char *function) { krgo_test_panic((char *)function); }

void kr_test_log(int32_t level, const char *text) { krgo_test_log(level, (char *)text); }
