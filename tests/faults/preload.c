// preload: a wrapper that preloads a shim which lies beside it: [<build>/tests/faults/preload, SHIM].
//
// For scenarios that plant a fault: the first word of a wrapper is resolved relative to the scenario file, the values
// of `env` are not. Further NAME=VALUE words before QEMU's are put into the environment: FAULT_ON=saved.
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { kUsage = 125 };

int main(int argc, char** argv) {
  char self[PATH_MAX], shim[PATH_MAX + 256];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  int next = 2;
  for (; next < argc && strchr(argv[next], '=') != NULL && argv[next][0] != '/'; ++next) putenv(argv[next]);
  if (length < 0 || next >= argc) {
    fprintf(stderr, "usage: preload SHIM [NAME=VALUE]... QEMU [ARGUMENT]...\n");
    return kUsage;
  }
  self[length] = '\0';
  snprintf(shim, sizeof shim, "%s/lib%.200s.so", dirname(self), argv[1]);
  // The loader would only warn, and a fault that silently does nothing proves nothing.
  if (access(shim, R_OK) != 0) {
    fprintf(stderr, "preload: %s: %s\n", shim, strerror(errno));
    return kUsage;
  }
  setenv("LD_PRELOAD", shim, 1);
  execvp(argv[next], argv + next);
  fprintf(stderr, "preload: %s: %s\n", argv[next], strerror(errno));
  return 127;
}
