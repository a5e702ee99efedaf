// A target of a lineage that ends as asked and comes back: one process instance after the other.
#include <filesystem>

#include "base/text.h"
#include "engine/lineage.h"

namespace migsoak::engine {

void Lineage::note_target_stopped(TargetPlayer& player, record::Observation& into, const std::string& phase,
                                  double at_ms) {
  drain_logs(into, phase, at_ms);  // its lines go with it
  const proc::ChildProcess& child = player.target->child();
  const proc::ExitStatus status = child.exit_status().value_or(proc::ExitStatus{});
  record::ProcessEnd end;
  end.process_id = player.process_id;
  end.expected = true;
  end.exit_code = status.exit_code;
  end.signal = status.signal;
  end.core_dumped = status.core_dumped;
  end.last_lines = base::printable(base::join(child.last_lines(), " | "), 2000);
  into.processes_ended.push_back(std::move(end));
}

void Lineage::note_target_started(TargetPlayer& player, record::Observation& into) {
  const std::string program = target::program_of(player.target->spec());
  const record::ProcessInstance instance = register_process(player.name, player.target->child(), player.target->pid(),
                                                            std::filesystem::path(program).filename(), into.iteration);
  into.processes_born.push_back(instance);
  player.process_id = instance.id;
  probes::adopt(probe_state_, {player.name, instance.id, player.target->pid(), {}});
}

}  // namespace migsoak::engine
