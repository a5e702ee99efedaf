// device_extra: a QEMU with a device that nobody asked for (cases.md, case 3b). A wrapper:
// [<build>/tests/faults/device_extra].
//
// The re-created machine of a hot upgrade had an ide-hd `ide0-hd0` that the old one never had: a default drive, a
// management layer's leftover. Without a medium the new QEMU does not start; with one the upgrade "succeeds".
//
//   FAULT_ARGUMENTS   what is put at the command line's end, separated by blanks (default: that disk, with a medium)
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which starts get it; the others run as they are
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "fault.h"

enum { kUsage = 125, kExtraMax = 64 };

static const char* const kDisk =
    "-blockdev driver=null-co,node-name=ide0,size=16777216,read-zeroes=on -device ide-hd,id=ide0-hd0,drive=ide0";

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: device_extra QEMU [ARGUMENT]...\n");
    return kUsage;
  }
  if (!is_question(argv + 1) && fault_due(fault_count_event())) {
    char* words = strdup(fault_text("FAULT_ARGUMENTS", kDisk));
    char** longer = calloc((size_t)argc + kExtraMax, sizeof *longer);
    if (words == NULL || longer == NULL) return kUsage;
    memcpy(longer, argv, (size_t)argc * sizeof *longer);
    int count = argc;
    char* rest = NULL;
    for (char* word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
      if (count == argc + kExtraMax - 1) return kUsage;
      longer[count++] = word;
    }
    argv = longer;  // lives as long as the process: until exec
  }
  execvp(argv[1], argv + 1);
  fprintf(stderr, "device_extra: %s: %s\n", argv[1], strerror(errno));
  return 127;
}
