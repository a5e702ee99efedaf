// Internal to gate: toml++, with which parse errors are values. Keep it out of other headers.
#pragma once

// As scenario includes it: header-only, since the packaged library is built with exceptions.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>
