// mapping_leak: a guest memory region that is mapped for each connection and never unmapped.
//
// A vhost target maps every region of SET_MEM_TABLE; one that forgets the munmap comes to vm.max_map_count (65530) long
// before its memory looks large. The mappings are shared, as a guest's are: the kernel never merges two of those.
//
//   FAULT_COUNT   mappings per event (default 1)
//   FAULT_BYTES   size of each (default 4K), never touched
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <sys/mman.h>

#include "events.h"

const char* const fault_on_default = NULL;

void fault_fire(uint64_t n) {
  (void)n;
  const size_t size = (size_t)fault_number("FAULT_BYTES", 4096);
  for (uint64_t i = fault_number("FAULT_COUNT", 1); i > 0; --i) {
    (void)mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  }
}
