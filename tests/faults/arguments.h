// For wrappers: what is in a QEMU's command line.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Asked for its version or for help: then nothing is to be changed.
bool is_question(char** argv);

// The value of `key=` in a comma-separated option, into `value`; false when it has none or it does not fit.
bool option_value(const char* option, const char* key, char* value, size_t size);
