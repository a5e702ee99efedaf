#include <fmt/format.h>

#include "recall_cases.h"

namespace migsoak::integration {

namespace {

// Both sides' daemons, the source's with a fault.
Case of_daemon(const std::string& name, int iterations, const std::string& faults) {
  Case result;
  result.name = name;
  result.libvirt = true;
  result.scenario =
      "name = \"recall\"\nseed = 1\n[guest]\nworkload = \"idle\"\n"
      "[[side]]\nname = \"a\"\ndriver = \"libvirt\"\n[[side]]\nname = \"b\"\ndriver = \"libvirt\"\n"
      "[[target]]\nname = \"disk0\"\n[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n";
  result.iterations = iterations;
  result.settings = {"side.a.libvirt_env.LD_PRELOAD=" + faults, "side.a.libvirt_env.FAULT_EXE=libvirtd"};
  return result;
}

// A daemon that goes on listing a domain which it has sent away.
Case left_behind(const std::string& name, const std::string& mode, const Row& row) {
  Case result = of_daemon(name, 1, "{faults}/libdomain_left.so");
  result.settings.push_back("side.a.libvirt_env.FAULT_LIMIT=1");
  if (!mode.empty()) result.settings.push_back("side.a.libvirt_env.FAULT_MODE=" + mode);
  result.rows = {row};
  return result;
}

// What it keeps of each guest that has gone: its status, a pair of threads per migration (four each time that its peer
// connects). Fewer iterations would not do: a growth is watched for 50 before it is called a leak, and one of fewer
// threads could be a pool's (detect/thread_leak.cpp).
Case kept_by_daemon() {
  Case result = of_daemon("libvirt_threads_and_status", 51, "{faults}/libthread_leak.so:{faults}/libfile_kept.so");
  for (const char* setting : {"FAULT_ON=accept", "FAULT_COUNT=4", "FAULT_FILE=*/libvirt/qemu/*guest.xml"}) {
    result.settings.push_back(std::string("side.a.libvirt_env.") + setting);
  }
  result.rows = {{"leftover-file", "libvirtd:a", "file", "file_kept", 0, 0, {}, {"guest.xml"}},
                 {"thread-leak", "libvirtd:a", "threads", "thread_leak, 4 a connection", 50, 50, {}}};
  result.companions = {{"mapping-leak", "libvirtd:a", "", "a thread has a stack and its guard page"}};
  return result;
}

}  // namespace

std::vector<Case> libvirt_cases() {
  return {left_behind("libvirt_domain_left", "",
                      {"xml-drift", "libvirtd:a", "domain-left", "domain_left", 0, 0, {}, {"(shut off)"}}),
          left_behind("libvirt_split_brain", "running",
                      {"split-brain", "libvirtd:a", "two-running", "domain_left, running", 0, 0, {}, {"both"}}),
          kept_by_daemon()};
}

}  // namespace migsoak::integration
