#include "recall_cases.h"

#include <fmt/format.h>

#include "base/text.h"

namespace migsoak::integration {

namespace {

// "target.disk0" and {"zombie", "orphan"}: both are preloaded there.
std::string preload(const std::string& where, const std::vector<std::string>& faults) {
  std::vector<std::string> files;
  for (const std::string& name : faults) files.push_back("{faults}/lib" + name + ".so");
  return where + ".env.LD_PRELOAD=" + base::join(files, ":");
}

// A target accepts one connection when the lineage boots and one per migration: the fourth is iteration 2's. Side b
// starts in iterations 0, 2, 4 …: its second start is iteration 2's. The count is kept in a file because each is a new
// process; two shims share it, so there the third and the fourth event are those of iteration 2.
Case small_faults() {
  Case result;
  result.name = "descriptors_processes_files_logs";
  result.disks = 2;
  result.iterations = 11;
  result.settings = {preload("target.disk0", {"fd_leak_recvmsg"}),
                     preload("target.disk1", {"zombie", "orphan", "leftover_file", "log_noise"}),
                     "target.disk1.env.FAULT_AT=4",
                     "target.disk1.env.FAULT_LIMIT=1",
                     "target.disk1.env.FAULT_LINE=blk.c:7: serve: Assertion `queue->kick_fd >= 0' failed.",
                     preload("side.b", {"zombie", "orphan"}),
                     "side.b.env.FAULT_STATE={dir}/starts",
                     "side.b.env.FAULT_AT=3",
                     "side.b.env.FAULT_LIMIT=2"};
  result.rows = {{"fd-leak", "target:disk0", "eventfd", "fd_leak_recvmsg", 2, 10, 4.0},
                 {"fd-leak", "target:disk0", "memfd", "fd_leak_recvmsg", 2, 10, 2.0},
                 {"fd-leak", "target:disk0", "unix", "fd_leak_recvmsg", 2, 10, 1.0},
                 {"zombie", "target:disk1", "child", "zombie", 2, 2, {}},
                 {"zombie", "qemu:b", "child", "zombie", 2, 2, {}},
                 {"orphan", "target:disk1", "process", "orphan", 2, 2, {}},
                 {"orphan", "qemu:b", "process", "orphan", 2, 2, {}},
                 {"leftover-file", "target:disk1", "file", "leftover_file", 2, 2, {}},
                 {"log-signature", "target:disk1", "assertion", "log_noise", 2, 2, {}}};
  return result;
}

Case slow_growth() {
  Case result;
  result.name = "growth";
  result.disks = 2;
  result.iterations = 150;
  result.settings = {preload("target.disk0", {"memory_growth", "mapping_leak", "fd_leak_recvmsg"}),
                     "target.disk0.env.FAULT_PER_CONNECTION_EVERY=7", "target.disk0.env.FAULT_KIND=eventfd",
                     preload("target.disk1", {"thread_leak", "fd_leak_eventfd"})};
  result.rows = {{"memory-growth", "target:disk0", "heap", "memory_growth, 128 KiB", 10, 149, {}},
                 {"mapping-leak", "target:disk0", "mappings", "mapping_leak", 10, 149, {}},
                 {"thread-leak", "target:disk1", "threads", "thread_leak", 10, 80, {}},
                 {"fd-leak", "target:disk1", "eventfd", "fd_leak_eventfd", 2, 10, 1.0},
                 {"fd-leak", "target:disk0", "eventfd", "fd_leak_recvmsg, 1 in 7", 13, 60, {}}};
  result.companions = {{"mapping-leak", "target:disk1", "", "a thread has a stack and its guard page"}};
  return result;
}

Case guest_faults() {
  Case result;
  result.name = "guest_memory_and_downtime";
  result.workload = "verify";
  result.iterations = 4;
  result.settings = {preload("side.b", {"slow_switch", "ram_corruption"}),
                     "side.b.env.FAULT_STATE={dir}/events",
                     "side.b.env.FAULT_AT=3",
                     "side.b.env.FAULT_LIMIT=2",
                     "side.b.env.FAULT_MS=4000",
                     "gate.downtime_ms_max=3500"};
  result.rows = {{"downtime", "guest", "guest", "slow_switch, 4 s", 2, 2, {}},
                 {"guest-corruption", "guest", "ram-garbage", "ram_corruption", 2, 2, {}}};
  return result;
}

Case disk_faults() {
  Case result;
  result.name = "disks";
  result.workload = "verify";
  result.disks = 4;
  result.iterations = 8;
  result.settings = {preload("target.disk0", {"disk_lost_write"}), preload("target.disk1", {"disk_torn_write"}),
                     preload("target.disk2", {"disk_misplaced_write"}), preload("target.disk3", {"disk_stale_read"})};
  // Not the first writes, some 130, that fill the guest's test area: what those replace is nobody's. (stale_read counts
  // overwriting writes only.)
  for (int i = 0; i < 3; ++i) {
    result.settings.push_back(fmt::format("target.disk{}.env.FAULT_AT=160", i));
    result.settings.push_back(fmt::format("target.disk{}.env.FAULT_EVERY=4", i));
  }
  result.rows = {{"disk-corruption", "guest", "vd0:lost", "disk_lost_write", 0, 7, {}},
                 {"disk-corruption", "guest", "vd1:torn", "disk_torn_write", 0, 7, {}},
                 {"disk-corruption", "guest", "vd2:misplaced", "disk_misplaced_write", 0, 7, {}},
                 {"disk-corruption", "guest", "vd3:lost", "disk_stale_read", 0, 7, {}}};
  result.companions = {
      {"disk-corruption", "guest", "vd1:lost", "a torn write whose other blocks were written over since"},
      {"disk-corruption", "guest", "vd1:stale", "whole blocks in the torn half of two writes that follow each other"},
      {"disk-corruption", "guest", "vd3:torn", "old blocks beside new ones of the same write"},
      {"disk-corruption", "guest", "vd3:stale", "older than the last but one"},
      {"disk-corruption", "guest", "vd2:lost", "what landed elsewhere is missing where it belongs"}};
  return result;
}

Case one_fault(const std::string& name, const std::string& where, const std::string& fault,
               const std::vector<std::string>& parameters, const Row& row) {
  Case result;
  result.name = name;
  result.settings = {preload(where, {fault})};
  for (const std::string& parameter : parameters) result.settings.push_back(where + ".env." + parameter);
  result.rows = {row};
  return result;
}

Case refused_migration() {
  Case result = one_fault("refused_migration", "side.b", "migration_refused", {"FAULT_STATE={dir}/n", "FAULT_AT=2"},
                          {"migration-failure", "qemu:b", "", "migration_refused", 2, 2, {}});
  result.workload = "verify";
  result.settings.push_back("side.b.env.FAULT_LIMIT=1");
  return result;
}

std::vector<Case> hangs() {
  std::vector<Case> result = {
      one_fault("blocked_target", "target.disk0", "hang_after", {"FAULT_AT=4"},
                {"hang", "target:disk0", "", "hang_after block", 2, 2, {}}),
      one_fault("stopped_target", "target.disk0", "hang_after", {"FAULT_AT=4", "FAULT_MODE=stop"},
                {"hang", "target:disk0", "", "hang_after SIGSTOP", 2, 2, {}})};
  // The defaults keep within the 60 s too; these keep the test short.
  for (Case& one : result) {
    for (const char* wait : {"spawn", "migrate", "answer"}) {
      one.settings.push_back(fmt::format("run.{}_deadline_s=8", wait));
    }
  }
  return result;
}

std::vector<Case> crashes() {
  std::vector<Case> result = {
      one_fault("crashed_target", "target.disk0", "crash_after", {"FAULT_AT=4"},
                {"crash", "target:disk0", "SIGSEGV", "crash_after, signal", 2, 2, {}}),
      one_fault("ended_target", "target.disk0", "crash_after", {"FAULT_AT=4", "FAULT_EXIT=7"},
                {"crash", "target:disk0", "exit-7", "crash_after, exit", 2, 2, {}}),
      one_fault("crashed_qemu", "side.b", "crash_after", {"FAULT_STATE={dir}/n", "FAULT_AT=2", "FAULT_LIMIT=1"},
                {"crash", "qemu:b", "SIGSEGV", "crash_after, at start", 2, 2, {}})};
  for (Case& one : result) {
    if (one.rows.front().process != "target:disk0") continue;
    one.companions = {{"log-signature", "qemu:a", "", "its messages no longer reach the target"},
                      {"log-signature", "qemu:b", "", "it has no target to start with"},
                      {"crash", "qemu:b", "exit-1", "it has no target to start with"}};
  }
  return result;
}

Case clean(const std::string& workload) {
  Case result;
  result.name = "nothing_planted_" + workload;
  result.workload = workload;
  return result;
}

}  // namespace

std::vector<Case> process_cases() {
  std::vector<Case> cases = {small_faults(), slow_growth(), guest_faults(), disk_faults(), refused_migration()};
  for (Case& one : hangs()) cases.push_back(std::move(one));
  for (Case& one : crashes()) cases.push_back(std::move(one));
  for (const char* workload : {"idle", "dirty", "verify"}) cases.push_back(clean(workload));
  return cases;
}

}  // namespace migsoak::integration
