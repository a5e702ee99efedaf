// log_noise: lines on stderr that nobody expects, or far too many of them.
//
// The storage daemon's "vu_panic: Error writing eventfd: Bad file descriptor", a driver's warning in every cycle, a
// library gone mad that fills the disk with one line.
//
//   FAULT_LINE    what is printed (default "vu_panic: Error writing eventfd: Bad file descriptor"); knows \n \t \e \xHH
//                 and a doubled backslash, for output that is hostile to a terminal or a parser
//   FAULT_BYTES   flood: the line again and again until so many bytes are out (default: once)
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <string.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = NULL;

static char unescape(const char** from) {
  const char* at = *from;
  if (at[0] != '\\' || at[1] == '\0') return *(*from)++;
  *from += 2;
  switch (at[1]) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'e': return '\x1b';
    case 'x': {
      char digits[3] = {at[2], at[2] ? at[3] : '\0', '\0'};
      char* end = NULL;
      const long value = strtol(digits, &end, 16);
      *from += end - digits;
      return (char)value;
    }
    default: return at[1];
  }
}

void fault_fire(uint64_t n) {
  (void)n;
  const char* text = fault_text("FAULT_LINE", "vu_panic: Error writing eventfd: Bad file descriptor");
  char line[4096];
  size_t length = 0;
  while (*text != '\0' && length < sizeof line - 1) line[length++] = unescape(&text);
  line[length++] = '\n';
  uint64_t left = fault_number("FAULT_BYTES", length);
  do {
    if (write(STDERR_FILENO, line, length) < 0) return;
    left = left > length ? left - length : 0;
  } while (left > 0);
}
