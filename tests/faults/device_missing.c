// device_missing: a QEMU without one of the devices that it was asked for. A wrapper:
// [<build>/tests/faults/device_missing].
//
// The other half of case 3b: an upgrade re-creates the machine from what somebody remembers of it, and forgets one. For
// a device that keeps state QEMU refuses the load; for one that keeps none nobody notices.
//
//   FAULT_DEVICE   the id (needed): -device …,id=FAULT_DEVICE,… is left out. Its backend stays
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which starts lack it; the others run as they are
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "fault.h"

enum { kUsage = 125 };

// False when there is no such device.
static bool leave_out(char** argv, const char* device) {
  bool found = false;
  char** to = argv;
  for (char** from = argv; *from != NULL;) {
    char id[128];
    if (strcmp(from[0], "-device") == 0 && from[1] != NULL && option_value(from[1], "id", id, sizeof id) &&
        strcmp(id, device) == 0) {
      found = true;
      from += 2;
    } else {
      *to++ = *from++;
    }
  }
  *to = NULL;
  return found;
}

int main(int argc, char** argv) {
  const char* device = fault_text("FAULT_DEVICE", "");
  if (argc < 2 || *device == '\0') {
    fprintf(stderr, "usage: FAULT_DEVICE=ID device_missing QEMU [ARGUMENT]...\n");
    return kUsage;
  }
  if (!is_question(argv + 1) && fault_due(fault_count_event()) && !leave_out(argv + 1, device)) {
    fprintf(stderr, "planted fault: device_missing: no device '%s'\n", device);
    return kUsage;
  }
  execvp(argv[1], argv + 1);
  fprintf(stderr, "device_missing: %s: %s\n", argv[1], strerror(errno));
  return 127;
}
