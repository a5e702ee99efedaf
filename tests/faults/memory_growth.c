// memory_growth: the target that keeps something of every connection.
//
// The usual small leak of a long-lived daemon: a device's state is freed, what hangs off it is not. Pieces of 16 KiB,
// so that they come from the heap and not from one mapping each.
//
//   FAULT_BYTES   touched per event (default 128K)
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <string.h>

#include "events.h"

const char* const fault_on_default = NULL;

// Keeps the compiler from dropping the allocation.
static void* volatile last_piece;

void fault_fire(uint64_t n) {
  (void)n;
  enum { kPieceBytes = 16 << 10 };
  for (uint64_t left = fault_number("FAULT_BYTES", 128 << 10); left > 0;) {
    const size_t size = left < kPieceBytes ? (size_t)left : kPieceBytes;
    void* piece = malloc(size);
    if (piece == NULL) return;
    memset(piece, 0x5a, size);
    last_piece = piece;
    left -= size;
  }
}
