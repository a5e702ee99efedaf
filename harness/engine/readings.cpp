// A reading speaks to its QEMU's QMP client, which goes with the QEMU: one whose process is forgotten is dropped.
#include "engine/readings.h"

#include <utility>

#include "engine/operations.h"

namespace migsoak::engine {

base::Deadline Readings::answer_deadline() const {
  return base::Deadline::in(std::chrono::seconds(lineage_.context().scenario.deadline.answer_s));
}

void Readings::begin_config(Vm* vm, hypervisor::ReadPoint point, bool running) {
  const bool wanted = lineage_.context().scenario.config_space;
  if (!wanted || vm == nullptr || !vm->machine->qmp().connected()) return;
  hypervisor::ConfigReadRequest request;
  request.point = point;
  request.subject = vm->name;
  request.process_id = vm->process_id;
  request.side = vm->machine->spec().side;
  request.running = running;
  config_at(point) = {vm->process_id, lineage_.config_reader().begin(vm->machine->qmp(), request)};
}

// What could not be read is not there: a QEMU that is gone or hangs tells of itself otherwise.
void Readings::finish_config(hypervisor::ReadPoint point) {
  const auto reading = std::exchange(config_at(point).reading, nullptr);
  if (reading == nullptr || lineage_.find(config_at(point).process_id) == nullptr) return;
  const auto began = base::Clock::now();
  auto documents = reading->finish(answer_deadline());
  journal_.sample("host", 0, point == hypervisor::ReadPoint::source ? "read_source_ms" : "read_destination_ms",
                  base::milliseconds_between(began, base::Clock::now()));
  if (!documents) return;
  journal_.documents(std::move(*documents));
}

void Readings::config(Vm* vm, hypervisor::ReadPoint point, bool running) {
  begin_config(vm, point, running);
  finish_config(point);
}

void Readings::begin_tree(Vm* vm, const char* point) {
  tree_.reset();
  const bool wanted = lineage_.context().scenario.device_tree;
  if (!wanted || vm == nullptr || !vm->machine->qmp().connected()) return;
  tree_process_id_ = vm->process_id;
  tree_ = lineage_.tree_reader().begin(vm->machine->qmp(), vm->name, vm->process_id, point);
}

// What could not be read is not there: a QEMU that is gone or hangs tells of itself otherwise.
void Readings::finish_tree() {
  const std::optional<hypervisor::DeviceTreeReading> reading = std::exchange(tree_, std::nullopt);
  if (!reading || lineage_.current() == nullptr || lineage_.current()->process_id != tree_process_id_) return;
  const auto began = base::Clock::now();
  auto documents = lineage_.tree_reader().finish(*reading, answer_deadline());
  journal_.sample("host", 0, "read_tree_ms", base::milliseconds_between(began, base::Clock::now()));
  if (!documents) return;
  journal_.documents(std::move(*documents));
}

void Readings::tree(Vm* vm, const char* point) {
  begin_tree(vm, point);
  finish_tree();
}

base::Result<void> Readings::config_by_guest() {
  const auto began = base::Clock::now();
  MIGSOAK_ASSIGN(auto seen, lineage_.guest_view().look(lineage_.channel(), answer_deadline()));
  if (!seen) return {};
  journal_.sample("host", 0, "read_guest_ms", base::milliseconds_between(began, base::Clock::now()));
  journal_.document(std::move(*seen));
  return {};
}

void Readings::device_set(const Vm& vm, const char* point) {
  record::Document document;
  document.kind = record::document_kind::kDeviceSet;
  document.subject = vm.name;
  document.process_id = vm.process_id;
  document.point = point;
  document.content = device_set_json(lineage_, vm.devices, vm.machine->spec().side, vm.slot);
  journal_.document(std::move(document));
}

}  // namespace migsoak::engine
