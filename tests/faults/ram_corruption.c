// ram_corruption: guest memory arrives with wrong bytes in it.
//
// A dirty bitmap that misses a page, a compression bug, two QEMUs that map one RAM file: the migration "completes" and
// the guest runs on with memory that is not its own. Here one byte in some of the guest's pages is flipped when the
// incoming stream has been read to its end (the destination starts the guest about then), whatever way the pages came:
// precopy, multifd, postcopy, shared memory.
//
// Only pages that the guest agent has patterned are touched (words that grow by a constant step: guest-images/agent,
// pattern.h): a flip anywhere else might hurt the guest kernel, or nobody at all. They are looked for among the pages
// that are in memory, so that the search does not make the process larger. Agent pages that the guest keeps rewriting
// get well again; FAULT_PAGES is large enough for some to be seen first.
//
//   FAULT_PAGES         how many pages (default 64), spread over all that are found
//   FAULT_PAGE_OFFSET   which byte of them (default 2000)
//   FAULT_MASK          bits to flip in it (default 0x01)
//   FAULT_STEP          the pattern's step (default 0x9e3779b97f4a7c15)
//   FAULT_ON (default loaded), FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE (else each destination is hit)
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = "loaded";

enum { kPageBytes = 4096, kMappingBytesMin = 16 << 20, kPagesMax = 1 << 20 };

struct pages {
  uint8_t** at;
  size_t count;
};

static bool patterned(const uint8_t* page, uint64_t step) {
  uint64_t words[kPageBytes / 8];
  memcpy(words, page, sizeof words);
  for (size_t i = 16; i < kPageBytes / 8; ++i) {
    if (words[i] != words[i - 1] + step) return false;
  }
  return true;
}

static void look_through(uint8_t* from, uint8_t* to, uint64_t step, struct pages* found) {
  const size_t count = (size_t)(to - from) / kPageBytes;
  unsigned char* resident = calloc(count, 1);
  const bool known = resident != NULL && mincore(from, (size_t)(to - from), resident) == 0;
  for (size_t i = 0; known && i < count && found->count < kPagesMax; ++i) {
    if ((resident[i] & 1) && patterned(from + i * kPageBytes, step)) found->at[found->count++] = from + i * kPageBytes;
  }
  free(resident);
}

// Every large mapping that can be written and not run: guest RAM, and never TCG's code buffer.
static void look_everywhere(uint64_t step, struct pages* found) {
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return;
  char* line = NULL;
  size_t size = 0;
  while (getline(&line, &size, maps) > 0) {
    unsigned long from = 0, to = 0;
    char permissions[5] = "";
    if (sscanf(line, "%lx-%lx %4s", &from, &to, permissions) != 3) continue;
    if (strncmp(permissions, "rw-", 3) != 0 || to - from < kMappingBytesMin) continue;
    look_through((uint8_t*)from, (uint8_t*)to, step, found);
  }
  free(line);
  fclose(maps);
}

void fault_fire(uint64_t n) {
  (void)n;
  struct pages found = {malloc(kPagesMax * sizeof(uint8_t*)), 0};
  if (found.at == NULL) return;
  look_everywhere(fault_number("FAULT_STEP", UINT64_C(0x9e3779b97f4a7c15)), &found);
  const size_t wanted = (size_t)fault_number("FAULT_PAGES", 64);
  const size_t offset = (size_t)fault_number("FAULT_PAGE_OFFSET", 2000) % kPageBytes;
  const uint8_t mask = (uint8_t)fault_number("FAULT_MASK", 1);
  const size_t hits = found.count < wanted ? found.count : wanted;
  for (size_t i = 0; i < hits; ++i) found.at[i * found.count / hits][offset] ^= mask;
  free(found.at);
}
