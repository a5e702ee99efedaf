#include "record/observation.h"

#include <array>
#include <utility>

namespace migsoak::record {

namespace {
constexpr std::array<std::pair<IterationStatus, const char*>, 5> kStatusNames{{
    {IterationStatus::started, "started"},
    {IterationStatus::completed, "completed"},
    {IterationStatus::failed, "failed"},
    {IterationStatus::lost, "lost"},
    {IterationStatus::unknown, "unknown"},
}};
}  // namespace

std::string to_string(IterationStatus status) {
  for (const auto& [value, name] : kStatusNames) {
    if (value == status) return name;
  }
  return "?";
}

base::Result<IterationStatus> iteration_status_from(const std::string& name) {
  for (const auto& [value, known] : kStatusNames) {
    if (name == known) return value;
  }
  return base::fail(base::ErrorKind::bad_input, "unknown iteration status '" + name + "'");
}

}  // namespace migsoak::record
