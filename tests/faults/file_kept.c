// file_kept: a file that should go stays.
//
// A daemon notes what it has in files, and takes each away with what it tells of. One that stays tells the next reader,
// often the daemon itself after a restart, of something that is long gone.
//
//   FAULT_FILE   patterns, separated by `|`, of the paths that are not unlinked (needed)
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which of them, counted as they are to go
#include <unistd.h>

#include "fault.h"

FAULT_NEXT(unlink)

FAULT_EXPORT int unlink(const char* path) {
  if (fault_enabled() && fault_matches(fault_text("FAULT_FILE", ""), path) && fault_due(fault_count_event())) return 0;
  return next_unlink()(path);
}
