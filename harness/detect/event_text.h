// Reading an event's detail without trusting its shape.
#pragma once

#include <string>

#include "base/text.h"
#include "record/observation.h"

namespace migsoak::detect {

namespace kinds = record::event_kind;

inline std::int64_t detail_int(const record::Event& event, const char* key, std::int64_t fallback = 0) {
  return base::json_get<std::int64_t>(event.detail, key, fallback);
}
inline std::string detail_text(const record::Event& event, const char* key) {
  return base::json_text(event.detail, key);
}
inline bool has_event(const record::Observation& observation, const char* kind) {
  for (const record::Event& event : observation.events) {
    if (event.kind == kind) return true;
  }
  return false;
}

// Did a target of that iteration end although nobody asked?
bool a_target_ended(const record::Observation& observation);

// "SIGSEGV" for 11; "signal 99" for what has no name here.
std::string signal_name(std::int64_t number);
// Milliseconds for people: "350 ms", "61.2 s".
std::string duration_words(double milliseconds);
// The last component of a path.
std::string file_name_of(const std::string& path);

}  // namespace migsoak::detect
