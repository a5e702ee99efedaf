#include <fmt/format.h>

#include "recall_cases.h"

namespace migsoak::integration {

namespace {

// A daemon that goes on listing a domain which it has sent away.
Case left_behind(const std::string& name, const std::string& mode, const Row& row) {
  Case result;
  result.name = name;
  result.libvirt = true;
  result.scenario =
      "name = \"recall\"\nseed = 1\n[guest]\nworkload = \"idle\"\n"
      "[[side]]\nname = \"a\"\ndriver = \"libvirt\"\n[[side]]\nname = \"b\"\ndriver = \"libvirt\"\n"
      "[[target]]\nname = \"disk0\"\n[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n";
  result.iterations = 1;
  result.settings = {"side.a.libvirt_env.LD_PRELOAD={faults}/libdomain_left.so",
                     "side.a.libvirt_env.FAULT_EXE=libvirtd", "side.a.libvirt_env.FAULT_LIMIT=1"};
  if (!mode.empty()) result.settings.push_back("side.a.libvirt_env.FAULT_MODE=" + mode);
  result.rows = {row};
  return result;
}

}  // namespace

std::vector<Case> libvirt_cases() {
  return {left_behind("libvirt_domain_left", "",
                      {"xml-drift", "libvirtd:a", "domain-left", "domain_left", 0, 0, {}, {"(shut off)"}}),
          left_behind("libvirt_split_brain", "running",
                      {"split-brain", "libvirtd:a", "two-running", "domain_left, running", 0, 0, {}, {"both"}})};
}

}  // namespace migsoak::integration
