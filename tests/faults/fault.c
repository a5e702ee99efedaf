#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { kUnknown = 0, kOff = 1, kOn = 2 };

static void executable_name(char* name, size_t size) {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  path[length < 0 ? 0 : length] = '\0';
  const char* slash = strrchr(path, '/');
  snprintf(name, size, "%.255s", slash ? slash + 1 : path);
}

bool fault_matches(const char* patterns, const char* text) {
  char one[256];
  for (const char* from = patterns; *from != '\0';) {
    const size_t length = strcspn(from, "|");
    if (length < sizeof one) {
      memcpy(one, from, length);
      one[length] = '\0';
      if (fnmatch(one, text, 0) == 0) return true;
    }
    from += length;
    if (*from == '|') ++from;
  }
  return false;
}

static bool executable_matches(_Atomic int* memory, const char* patterns) {
  int state = atomic_load_explicit(memory, memory_order_relaxed);
  if (state == kUnknown) {
    const int saved = errno;
    char name[256];
    executable_name(name, sizeof name);
    state = fault_matches(patterns, name) ? kOn : kOff;
    atomic_store_explicit(memory, state, memory_order_relaxed);
    errno = saved;
  }
  return state == kOn;
}

bool fault_enabled(void) {
  static _Atomic int state;
  return executable_matches(&state, fault_text("FAULT_EXE", "qemu-*"));
}

bool fault_in_qemu_system(void) {
  static _Atomic int state;
  return executable_matches(&state, "qemu-system-*");
}

const char* fault_text(const char* name, const char* fallback) {
  const char* value = getenv(name);
  return value != NULL && *value != '\0' ? value : fallback;
}

uint64_t fault_number(const char* name, uint64_t fallback) {
  const char* text = fault_text(name, NULL);
  if (text == NULL) return fallback;
  char* end = NULL;
  uint64_t value = strtoull(text, &end, 0);
  if (*end == 'K')
    value <<= 10, ++end;
  else if (*end == 'M')
    value <<= 20, ++end;
  else if (*end == 'G')
    value <<= 30, ++end;
  if (end == text || *end != '\0') {
    dprintf(STDERR_FILENO, "planted fault: %s is not a number\n", name);
    _exit(125);
  }
  return value;
}

static uint64_t count_in_file(const char* path) {
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || flock(fd, LOCK_EX) != 0) {
    dprintf(STDERR_FILENO, "planted fault: FAULT_STATE %s: %s\n", path, strerror(errno));
    _exit(125);
  }
  char text[32] = "";
  const ssize_t got = pread(fd, text, sizeof text - 1, 0);
  const uint64_t n = (got > 0 ? strtoull(text, NULL, 10) : 0) + 1;
  const int length = snprintf(text, sizeof text, "%llu\n", (unsigned long long)n);
  if (pwrite(fd, text, (size_t)length, 0) != length) _exit(125);
  close(fd);
  return n;
}

uint64_t fault_count_event(void) {
  static _Atomic uint64_t count;
  const int saved = errno;
  const char* path = fault_text("FAULT_STATE", NULL);
  const uint64_t n = path != NULL ? count_in_file(path) : atomic_fetch_add(&count, 1) + 1;
  errno = saved;
  return n;
}

bool fault_due(uint64_t n) {
  uint64_t every = fault_number("FAULT_EVERY", 1);
  if (every == 0) every = 1;
  const uint64_t at = fault_number("FAULT_AT", every);
  const uint64_t limit = fault_number("FAULT_LIMIT", 0);
  if (n < at || (n - at) % every != 0) return false;
  return limit == 0 || (n - at) / every < limit;
}
