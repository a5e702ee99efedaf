// The device tree of the QEMU in which the guest is: read once operations are concluded, while the guest verifies.
#include <algorithm>
#include <utility>

#include "engine/iteration.h"

namespace migsoak::engine {

std::optional<hypervisor::DeviceTreeReading> IterationRunner::send_for_tree(Player& player, const char* point) {
  if (!context_.scenario.device_tree) return std::nullopt;
  reads_.done("device-tree");
  if (player.machine->qmp().connected()) {
    return lineage_.tree_reader().begin(player.machine->qmp(), player.name, player.process_id, point);
  }
  reads_.failed("device-tree", player.name, player.process_id, "its QMP is closed");
  return std::nullopt;
}

bool IterationRunner::begin_tree(Player* player, const char* point) {
  tree_reading_.reset();
  if (player != nullptr) tree_reading_ = send_for_tree(*player, point);
  return true;
}

// One that answers only with the guest in it has no tree of before the load.
void IterationRunner::begin_waiting_tree() {
  waiting_tree_.reset();
  if (destination_ != nullptr) waiting_tree_ = send_for_tree(*destination_, "waiting");
}

void IterationRunner::finish_waiting_tree() {
  const std::optional<hypervisor::DeviceTreeReading> reading = std::exchange(waiting_tree_, std::nullopt);
  if (!reading || destination_ == nullptr || &destination_->machine->qmp() != reading->client) return;
  take_tree(*reading);
}

// What the plan plugged, as the QEMU has it that did so: the destination must have the same.
bool IterationRunner::look_at_plugged() {
  const auto& operations = into_.plan.operations;
  const auto settled = [](const record::PlannedOperation& operation) { return operation.timing == "settled"; };
  if (std::none_of(operations.begin(), operations.end(), settled)) return true;
  return begin_tree(source_, "plugged") && finish_tree();
}

bool IterationRunner::finish_tree() {
  const std::optional<hypervisor::DeviceTreeReading> reading = std::exchange(tree_reading_, std::nullopt);
  // A QEMU whose end was noted meanwhile is forgotten, its client with it.
  const bool there = reading && lineage_.current() != nullptr && &lineage_.current()->machine->qmp() == reading->client;
  if (there) take_tree(*reading);
  return true;
}

void IterationRunner::take_tree(const hypervisor::DeviceTreeReading& reading) {
  const auto began = base::Clock::now();
  auto documents = lineage_.tree_reader().finish(
      reading, base::Deadline::in(std::chrono::seconds(context_.scenario.deadline.answer_s)));
  sample("host", 0, reading.point == "waiting" ? "read_waiting_tree_ms" : "read_tree_ms",
         base::milliseconds_between(began, base::Clock::now()));
  if (!documents) {
    return reads_.failed("device-tree", reading.subject, reading.process_id, documents.error().message);
  }
  for (record::Document& document : *documents) {
    if (base::json_get<bool>(document.content, "cut", false)) {
      reads_.failed("device-tree", reading.subject, reading.process_id, "there is more of it than the reader takes");
    }
    into_.documents.push_back(std::move(document));
  }
}

}  // namespace migsoak::engine
