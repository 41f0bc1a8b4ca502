//go:build !purego

/* amx.c - tile state is 8 KB per thread that Linux keeps for processes that have asked for it (Documentation/arch/x86/xstate.rst). */
#define _GNU_SOURCE
#include "kern.h"
#if defined(KR_AMX)
#include <sys/syscall.h>
#include <unistd.h>

#define REQ_XCOMP_PERM 0x1023
#define XTILEDATA 18

/* Fails on an old kernel, under a seccomp filter, or where a thread's alternate signal stack is too small for the state. */
int kr_amx_permit(void) { return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0; }
#else
int kr_amx_permit(void) { return 0; }
#endif
