// Internal to hypervisor: the commands that tell of virtqueues (QEMU 7.2 and later, qapi/virtio.json), and their
// answers.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "record/config_space.h"

namespace migsoak::hypervisor {

class VirtqueueAnswers {
 public:
  // Name and arguments of each command that x-query-virtio's answer asks for, in the order take() wants the replies.
  std::vector<std::pair<std::string, base::Json>> commands_for(const base::Json& devices);
  // What of them is missing, in words; empty when nothing is.
  std::string take(const std::vector<base::Result<base::Json>>& answers);
  // Nothing where the build does not tell.
  std::optional<record::Virtqueues> result() const { return result_; }

 private:
  std::optional<record::Virtqueues> result_;
  struct Question {
    std::size_t device = 0;  // index in result_->devices
    int queue = -1;          // -1: the property
  };
  std::vector<Question> questions_;
};

}  // namespace migsoak::hypervisor
