// device_change: a QEMU whose device is not what the command line says. A wrapper:
// [<build>/tests/faults/device_change].
//
// An update that changes a default, a machine type that lost a compat property, a build with a capability more: the
// command line is the same on both ends and the devices are not. The option -device …,id=FAULT_DEVICE,… gets
// FAULT_PROPERTIES at its end, where they override what stands before.
//
//   FAULT_DEVICE=plain0               the id; every -device that has an id without it
//   FAULT_PROPERTIES=ats=on,aer=on    needed. Several sets separated by `|` are used in turn, one at each start that is
//                                     due: a device that is another one from start to start
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which starts are changed; the others run as they are
//
// What scenarios can say themselves ([device.on.SIDE]) needs no wrapper: it is for what the harness is not to know of,
// and for what is not the same at every start of a side.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "fault.h"

enum { kUsage = 125, kOptionMax = 4096 };

// The n-th of the sets (from 0, round and round).
static void nth_set(const char* sets, uint64_t n, char* set, size_t size) {
  uint64_t count = 1;
  for (const char* at = sets; *at != '\0'; ++at) count += *at == '|';
  const char* from = sets;
  for (n %= count; n > 0; --n) from = strchr(from, '|') + 1;
  snprintf(set, size, "%.*s", (int)strcspn(from, "|"), from);
}

// How many starts have been due before this one, number `n`.
static uint64_t due_before(uint64_t n) {
  uint64_t count = 0;
  for (uint64_t i = 1; i < n; ++i) count += fault_due(i);
  return count;
}

static bool is_meant(const char* option) {
  char id[128];
  if (!option_value(option, "id", id, sizeof id)) return false;
  const char* wanted = fault_text("FAULT_DEVICE", "");
  return *wanted == '\0' || strcmp(id, wanted) == 0;
}

int main(int argc, char** argv) {
  const char* sets = fault_text("FAULT_PROPERTIES", "");
  if (argc < 2 || *sets == '\0') {
    fprintf(stderr, "usage: FAULT_PROPERTIES=PROPERTY=VALUE,... device_change QEMU [ARGUMENT]...\n");
    return kUsage;
  }
  if (!is_question(argv + 1)) {
    const uint64_t n = fault_count_event();
    if (fault_due(n)) {
      char set[kOptionMax];
      nth_set(sets, due_before(n), set, sizeof set);
      for (char** at = argv + 1; at[0] != NULL && at[1] != NULL; ++at) {
        if (strcmp(at[0], "-device") != 0 || !is_meant(at[1])) continue;
        const size_t size = strlen(at[1]) + strlen(set) + 2;
        char* changed = malloc(size);
        if (changed == NULL) return kUsage;
        snprintf(changed, size, "%s,%s", at[1], set);
        at[1] = changed;  // lives as long as the process: until exec
      }
    }
  }
  execvp(argv[1], argv + 1);
  fprintf(stderr, "device_change: %s: %s\n", argv[1], strerror(errno));
  return 127;
}
