/* What Go calls in shim.c. */
#ifndef SHIM_H
#define SHIM_H

#include <stddef.h>
#include <stdint.h>

/* Runs the caller's log callback. */
void shim_log(void *fn, void *user, int32_t level, const char *text, size_t len);

#endif
