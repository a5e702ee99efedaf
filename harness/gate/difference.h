// Internal to gate: in what two runs differ that must not differ where their figures are compared.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "record/manifest.h"

namespace migsoak::gate {

struct Difference {
  std::string key, before, now;  // printable; a value that is not on record is empty
};

// `keys` as in Policy::same. "scenario": what was asked for, without what may differ between two runs of the same
// (summary, iterations, seed, gate), without the sides' builds, which are "qemu", and without the environment variables
// and wrappers of sides and targets, which are part of what is under test. A key that neither run has on record is a
// difference as well: nobody can say that it is the same.
std::vector<Difference> differences(const record::Manifest& before, const record::Manifest& now,
                                    const std::vector<std::string>& keys);
// "boot_id (1… → 2…), host_kernel (6.1 → 6.2)".
std::string words_of(const std::vector<Difference>& differences);
// The scenarios alone.
bool same_scenario(const record::Manifest& before, const record::Manifest& now);
// Of runs of the same scenario: the first line of it that differs, variables and wrappers included.
std::optional<Difference> subject_difference(const record::Manifest& before, const record::Manifest& now);

}  // namespace migsoak::gate
