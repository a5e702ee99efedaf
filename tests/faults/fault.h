// What every planted fault shares: which process it is meant for, its FAULT_* parameters, its schedule, the real
// functions behind the wrapped ones.
//
// A fault comes from outside, through LD_PRELOAD, and is inherited by whatever the process starts. It stays asleep in
// every process whose executable is not one it is meant for (FAULT_EXE), so that wrapper shells, `exec:` transports and
// their children run as if it were not there. It writes nothing to stderr (but log_noise) and keeps errno.
//
// C on purpose: nothing but libc is loaded into the foreign process.
#pragma once

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define FAULT_EXPORT __attribute__((visibility("default")))

// Defines next_<function>(): the function that this library hides, looked up at first use. Two threads that race here
// store the same pointer.
#define FAULT_NEXT(function)                                            \
  static __typeof__(&function) next_##function(void) {                  \
    static _Atomic(void*) found;                                        \
    void* address = atomic_load_explicit(&found, memory_order_relaxed); \
    if (address == NULL) {                                              \
      address = dlsym(RTLD_NEXT, #function);                            \
      if (address == NULL) abort();                                     \
      atomic_store_explicit(&found, address, memory_order_relaxed);     \
    }                                                                   \
    return (__typeof__(&function))address;                              \
  }

// FAULT_EXE: `|`-separated patterns (fnmatch(3)) of executables' base names; default "qemu-*".
bool fault_enabled(void);
// True in a qemu-system-* (also when FAULT_EXE does not say so).
bool fault_in_qemu_system(void);

// `text` matches one of the `|`-separated patterns.
bool fault_matches(const char* patterns, const char* text);

const char* fault_text(const char* name, const char* fallback);
// Decimal or 0x…, suffix K, M or G. Nonsense ends the process: a fault that silently does nothing proves nothing.
uint64_t fault_number(const char* name, uint64_t fallback);

// Counts one event and returns its number, from 1. With FAULT_STATE=<file> the count is kept in that file and goes on
// over all processes that name it (each iteration has a new QEMU).
uint64_t fault_count_event(void);

// Is event number n one at which the fault happens? A pure function of n: from FAULT_AT (default FAULT_EVERY) on, every
// FAULT_EVERY-th (default 1), at most FAULT_LIMIT times (default 0: no limit).
bool fault_due(uint64_t n);
