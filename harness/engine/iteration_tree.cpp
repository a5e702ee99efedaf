// The device tree of the QEMU in which the guest is: read once operations are concluded, while the guest verifies.
#include <algorithm>
#include <utility>

#include "engine/iteration.h"

namespace migsoak::engine {

bool IterationRunner::begin_tree(Player* player, const char* point) {
  tree_reading_.reset();
  if (!context_.scenario.device_tree || player == nullptr || !player->machine->qmp().connected()) return true;
  tree_reading_ = lineage_.tree_reader().begin(player->machine->qmp(), player->name, player->process_id, point);
  return true;
}

// What the plan plugged, as the QEMU has it that did so: the destination must have the same.
bool IterationRunner::look_at_plugged() {
  const auto& operations = into_.plan.operations;
  const auto settled = [](const record::PlannedOperation& operation) { return operation.timing == "settled"; };
  if (std::none_of(operations.begin(), operations.end(), settled)) return true;
  return begin_tree(source_, "plugged") && finish_tree();
}

// What could not be read is not there: a QEMU that is gone or hangs tells of itself otherwise.
bool IterationRunner::finish_tree() {
  const std::optional<hypervisor::DeviceTreeReading> reading = std::exchange(tree_reading_, std::nullopt);
  // A QEMU whose end was noted meanwhile is forgotten, its client with it.
  const bool there = reading && lineage_.current() != nullptr && &lineage_.current()->machine->qmp() == reading->client;
  if (!there) return true;
  const auto began = base::Clock::now();
  auto documents = lineage_.tree_reader().finish(
      *reading, base::Deadline::in(std::chrono::seconds(context_.scenario.deadline.answer_s)));
  sample("host", 0, "read_tree_ms", base::milliseconds_between(began, base::Clock::now()));
  if (!documents) return true;
  for (record::Document& document : *documents) into_.documents.push_back(std::move(document));
  return true;
}

}  // namespace migsoak::engine
