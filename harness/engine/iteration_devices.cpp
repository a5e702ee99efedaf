// The device set in an iteration: hotplug operations around the migration, and a destination that has what the guest
// has.
#include <fmt/format.h>

#include <algorithm>

#include "base/version.h"
#include "engine/iteration.h"

namespace migsoak::engine {

using base::Deadline;
using hypervisor::DeviceSet;
using hypervisor::DeviceSpec;
using std::chrono::seconds;

namespace {

bool same_devices(const DeviceSet& left, const DeviceSet& right) {
  const auto holds = [](const DeviceSet& set, const DeviceSpec& wanted) {
    return std::any_of(set.begin(), set.end(), [&wanted](const DeviceSpec& device) {
      return device.id == wanted.id && device.bus == wanted.bus && device.address == wanted.address;
    });
  };
  return left.size() == right.size() &&
         std::all_of(left.begin(), left.end(), [&](const DeviceSpec& device) { return holds(right, device); });
}

}  // namespace

bool IterationRunner::run_operations() {
  if (operations_.empty()) return true;
  phase("hotplug");
  const auto done = operations_.run_settled(*source_);
  if (!still_whole()) return false;
  if (!done) return give_up("guest", 0, done.error(), "hotplug before the migration");
  return true;
}

// The last thing before `migrate`.
bool IterationRunner::begin_operations() {
  if (!operations_.empty()) {
    phase("hotplug");
    const auto done = operations_.begin_at_once(*source_);
    if (!still_whole()) return false;
    if (!done) return give_up("guest", 0, done.error(), "hotplug at the migration");
  }
  return match_destination();
}

// What an operation did not do as planned, the destination must not have done either.
bool IterationRunner::match_destination() {
  if (!starts_before()) return true;  // it is not there yet, and will have what the guest has
  if (destination_ != nullptr && same_devices(destination_->devices, lineage_.devices())) return true;
  destination_reading_.reset();
  waiting_tree_.reset();
  if (destination_ != nullptr) lineage_.retire(*destination_, /*by_quit=*/false, into_);
  destination_ = nullptr;
  phase("spawn");
  return spawn_destination_with(lineage_.devices()) && raise_destination();
}

bool IterationRunner::conclude_operations(Player* player) {
  if (operations_.empty() || player == nullptr) return true;
  phase("hotplug");
  const auto done = operations_.conclude(*player);
  if (!still_whole()) return false;
  if (!done) return give_up("guest", 0, done.error(), "hotplug after the migration");
  return true;
}

void IterationRunner::begin_reading(Player* player, hypervisor::ReadPoint point, bool running) {
  if (!context_.scenario.config_space || player == nullptr) return;
  reads_.done("config-space");
  if (!player->machine->qmp().connected()) {
    return reads_.failed("config-space", player->name, player->process_id, "its QMP is closed");
  }
  auto& reading = point == hypervisor::ReadPoint::source ? source_reading_ : destination_reading_;
  hypervisor::ConfigReadRequest request;
  request.point = point;
  request.subject = player->name;
  request.process_id = player->process_id;
  request.side = player->machine->spec().side;
  request.running = running;
  request.tells_virtqueues = !base::older_version(player->machine->spec().version, "7.2");
  reading = lineage_.config_reader().begin(player->machine->qmp(), request);
}

// A QEMU that is gone or hangs tells of itself otherwise too.
void IterationRunner::finish_reading(hypervisor::ReadPoint point) {
  auto& reading = point == hypervisor::ReadPoint::source ? source_reading_ : destination_reading_;
  if (reading == nullptr) return;
  const auto began = base::Clock::now();
  auto documents = reading->finish(Deadline::in(seconds(context_.scenario.deadline.answer_s)));
  const hypervisor::ConfigReadRequest request = reading->request();
  if (!documents) {
    reads_.failed("config-space", request.subject, request.process_id, documents.error().message);
    const bool queues = request.tells_virtqueues && !request.running;
    if (queues) reads_.failed("virtqueues", request.subject, request.process_id, documents.error().message);
  }
  for (const hypervisor::MissedRead& missed : reading->missed()) {
    reads_.failed(missed.read, request.subject, request.process_id, missed.why);
  }
  reading.reset();
  sample("host", 0, point == hypervisor::ReadPoint::source ? "read_source_ms" : "read_destination_ms",
         base::milliseconds_between(began, base::Clock::now()));
  if (!documents) return;
  for (record::Document& document : *documents) {
    if (document.kind == record::document_kind::kVirtqueues) reads_.done("virtqueues");
    into_.documents.push_back(std::move(document));
  }
}

// Now and then. A guest that does not answer shows elsewhere too.
bool IterationRunner::look_by_guest() {
  if (!context_.scenario.config_space) return true;
  phase("look");
  const auto began = base::Clock::now();
  auto seen =
      lineage_.guest_view().look(lineage_.channel(), Deadline::in(seconds(context_.scenario.deadline.answer_s)));
  if (!still_whole()) return false;
  if (!seen) return give_up("guest", 0, seen.error(), "configuration space as the guest sees it");
  if (!*seen) return true;
  sample("host", 0, "read_guest_ms", base::milliseconds_between(began, base::Clock::now()));
  into_.documents.push_back(std::move(**seen));
  return true;
}

void IterationRunner::record_device_set(const Player& player, const char* point) {
  record::Document document;
  document.kind = record::document_kind::kDeviceSet;
  document.subject = player.name;
  document.process_id = player.process_id;
  document.point = point;
  document.content = device_set_json(lineage_, player.devices, player.machine->spec().side, player.slot);
  into_.documents.push_back(std::move(document));
}

}  // namespace migsoak::engine
