#include "arguments.h"

#include <string.h>

bool is_question(char** argv) {
  for (; *argv != NULL; ++argv) {
    if (strcmp(*argv, "--version") == 0 || strcmp(*argv, "-version") == 0 || strcmp(*argv, "help") == 0) return true;
  }
  return false;
}

bool option_value(const char* option, const char* key, char* value, size_t size) {
  const size_t length = strlen(key);
  for (const char* at = option; at != NULL; at = strchr(at, ',')) {
    if (*at == ',') ++at;
    if (strncmp(at, key, length) != 0 || at[length] != '=') continue;
    const char* from = at + length + 1;
    const size_t used = strcspn(from, ",");
    if (used >= size) return false;
    memcpy(value, from, used);
    value[used] = '\0';
    return true;
  }
  return false;
}
