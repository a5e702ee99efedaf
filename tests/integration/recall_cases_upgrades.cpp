// Hot upgrades in each of the three modes, and targets that are restarted: what may be left behind, lost or changed on
// the way; and the same with nothing planted.
#include <fmt/format.h>

#include "recall_cases.h"

namespace migsoak::integration {

namespace {

constexpr const char* kModes[] = {"cpr-reboot", "cpr-transfer", "cpr-exec"};

// The build that has all three, and what it is fetched by.
constexpr const char* kBuild = "debian:forky";

// The sides have a device that keeps no state: a load does not miss it.
std::string upgrades(const std::string& mode, const std::vector<std::string>& sides = {"a", "b"}) {
  std::string text = "name = \"recall-upgrades\"\nseed = 1\n[guest]\nworkload = \"idle\"\n";
  for (const std::string& side : sides) {
    text += fmt::format(
        "[[side]]\nname = \"{}\"\nqemu = \"{}\"\n"
        "extra_args = [\"-device\", \"isa-debug-exit,id=exit0,iobase=0xf4\"]\n",
        side, kBuild);
  }
  text += "[[target]]\nname = \"disk0\"\n";
  text += "[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n";
  text += "[[device]]\nid = \"vd1\"\ntype = \"virtio-blk\"\n";
  return text + fmt::format("[migration]\nmode = \"{}\"\n", mode);
}

// "cpr-exec" "children": cpr_exec_children.
Case upgrade(const std::string& mode, const std::string& what, std::vector<std::string> settings,
             std::vector<Row> rows) {
  Case result;
  result.name = mode + "_" + what;
  for (char& c : result.name) c = c == '-' ? '_' : c;
  result.scenario = upgrades(mode);
  result.build = kBuild;
  result.iterations = 4;
  result.settings = std::move(settings);
  result.rows = std::move(rows);
  return result;
}

// One side's fault at events `at` … `at + limit - 1`, counted over all its processes.
std::vector<std::string> shims(const std::string& side, const std::string& files, const std::string& on, int at,
                               int limit) {
  const std::string env = "side." + side + ".env.";
  return {env + "LD_PRELOAD=" + files, env + "FAULT_ON=" + on, env + "FAULT_STATE={dir}/events-" + side,
          fmt::format("{}FAULT_AT={}", env, at), fmt::format("{}FAULT_LIMIT={}", env, limit)};
}

// Side b starts in iterations 0, 2 …, and two shims share its count. Side a has saved its state in the same ones: what
// it leaves then vanishes with its process, where that ends.
Case children(const std::string& mode) {
  Case one = upgrade(mode, "children", shims("b", "{faults}/libzombie.so:{faults}/liborphan.so", "start", 3, 2),
                     {{"zombie", "qemu:b", "child", "zombie of the new QEMU", 2, 2, {}, {"[qemu-system-x86]"}},
                      {"orphan", "qemu:b", "process", "detached grandchild", 2, 2, {}, {"left-behind"}}});
  if (mode == "cpr-exec") return one;
  for (std::string& setting : shims("a", "{faults}/libzombie.so", "saved", 2, 1)) {
    one.settings.push_back(std::move(setting));
  }
  one.rows.push_back({"zombie", "qemu:a", "child", "zombie of the old QEMU", 2, 2, {}, {"[qemu-system-x86]"}});
  return one;
}

// What the old program leaves just before the pid becomes the new one. One side only: every exec is its.
Case children_at_exec() {
  Case one =
      upgrade("cpr-exec", "children_at_exec", shims("a", "{faults}/libzombie.so:{faults}/liborphan.so", "exec", 5, 2),
              {{"zombie", "qemu:a", "child", "zombie at the exec", 2, 2, {}, {"[qemu-system-x86]"}},
               {"orphan", "qemu:a", "process", "grandchild at the exec", 2, 2, {}, {"left-behind"}}});
  one.scenario = upgrades("cpr-exec", {"a"});
  return one;
}

// A device more and a changed property on side b, from its first start on; one less on side a, from its second.
Case devices(const std::string& mode) {
  return upgrade(mode, "devices",
                 {"side.b.wrapper={faults}/device_extra,{faults}/device_change", "side.b.env.FAULT_DEVICE=vd1",
                  "side.b.env.FAULT_PROPERTIES=serial=other", "side.a.wrapper={faults}/device_missing",
                  "side.a.env.FAULT_DEVICE=exit0", "side.a.env.FAULT_STATE={dir}/starts", "side.a.env.FAULT_AT=2"},
                 {{"qtree-drift", "qemu:b", "device-extra", "extra ide-hd", 0, 0, {}, {"ide-hd ide0-hd0"}},
                  {"qtree-drift", "qemu:b", "property-changed", "serial=other", 0, 0, {}, {"serial", "other", "vd1"}},
                  {"qtree-drift", "qemu:a", "device-missing", "no exit0", 1, 1, {}, {"isa-debug-exit exit0"}}});
}

// One descriptor of each kind per generation of the one pid.
Case descriptors() {
  Case one =
      upgrade("cpr-exec", "descriptors",
              {"side.a.env.LD_PRELOAD={faults}/libfd_loss_exec.so", "side.a.env.FAULT_KIND=eventfd|memfd|socket"}, {});
  one.scenario = upgrades("cpr-exec", {"a"});
  one.iterations = 11;
  for (const char* kind : {"eventfd", "memfd", "unix"}) {
    one.rows.push_back({"fd-leak", "qemu:a", kind, "fd_loss_exec", 2, 10, 1.0});
  }
  return one;
}

Case nothing_planted(const std::string& mode) {
  Case one = upgrade(mode, "nothing_planted", {}, {});
  one.settings = {"guest.workload=verify"};
  one.iterations = 12;
  return one;
}

// Case 3c on the system's own QEMU.
Case legacy(const std::string& mode) {
  Case one = upgrade(mode, "legacy_zombie", {},
                     {{"zombie", "qemu:a", "child", "legacy_cpr_exec", 0, 0, {}, {"[qemu-system-x86]"}},
                      {"zombie", "qemu:b", "child", "legacy_cpr_exec", 1, 1, {}, {"[qemu-system-x86]"}}});
  one.scenario.clear();
  one.build.clear();
  one.settings = {"migration.mode=" + mode, "side.a.wrapper={faults}/preload,legacy_cpr_exec",
                  "side.b.wrapper={faults}/preload,legacy_cpr_exec"};
  return one;
}

// An upgrade that is made to fail, and an old QEMU that does not survive it as it should. Under cpr-reboot it is
// started again, and dies; under precopy it has sent all, and dies.
std::vector<Case> lost_guests() {
  std::vector<Case> result = {
      upgrade("cpr-reboot", "lost", {"upgrade.failure=device-init"},
              {{"upgrade-failure", "qemu:b", "cpr-reboot:device-init:lost", "no way back", 0, 0, {}, {"SIGSEGV"}}}),
      upgrade("precopy", "lost", {"upgrade.failure=hangs-after-load", "upgrade.deadline_s=4"},
              {{"upgrade-failure", "qemu:b", "precopy:hangs-after-load:lost", "source dies", 0, 0, {}, {"lost"}},
               {"crash", "qemu:a", "SIGSEGV", "source dies", 0, 0, {}, {}}})};
  for (std::string& setting : shims("a", "{faults}/libcrash_after.so", "start", 2, 1)) {
    result[0].settings.push_back(std::move(setting));
  }
  for (std::string& setting : shims("a", "{faults}/libcrash_after.so", "saved", 1, 1)) {
    result[1].settings.push_back(std::move(setting));
  }
  result[1].scenario.clear();
  result[1].build.clear();
  result[1].settings.push_back("migration.mode=precopy");
  return result;
}

constexpr const char* kRestarts = R"(name = "recall-restarts"
seed = 1
[guest]
workload = "verify"
[[side]]
name = "a"
[[side]]
name = "b"
[[target]]
name = "disk0"
[[device]]
id = "vd0"
type = "vhost-user-blk"
target = "disk0"
reconnect_ms = 1000
[[restart]]
target = "disk0"
every = 2
)";

// The target starts with the lineage and again in iterations 1, 3 …
Case restart(const std::string& name, std::vector<std::string> settings, std::vector<Row> rows) {
  Case one;
  one.name = "restart_" + name;
  one.scenario = kRestarts;
  one.settings = std::move(settings);
  one.rows = std::move(rows);
  for (std::string& setting : one.settings) setting.insert(0, "target.disk0.");
  return one;
}

std::vector<Case> restarts() {
  const auto at_start = [](const std::string& shim) -> std::vector<std::string> {
    return {"env.LD_PRELOAD={faults}/lib" + shim + ".so", "env.FAULT_ON=start", "env.FAULT_STATE={dir}/starts",
            "env.FAULT_AT=2"};
  };
  std::vector<Case> result = {
      restart("nothing_planted", {}, {}),
      restart("stale_image", {"wrapper={faults}/stale_image", "env.FAULT_STATE={dir}/starts", "env.FAULT_AT=3"},
              {{"disk-corruption", "guest", "vd0:lost", "stale_image", 3, 3, {}}}),
      restart("target_ends", at_start("crash_after"),
              {{"crash", "target:disk0", "SIGSEGV", "crash_after, 2nd start", 1, 1, {}}}),
      restart("target_never_listens", at_start("hang_after"),
              {{"hang", "target:disk0", "", "hang_after, 2nd start", 1, 1, {}}})};
  for (const char* wait : {"spawn", "migrate", "answer"}) {
    result.back().settings.push_back(fmt::format("run.{}_deadline_s=8", wait));
  }
  return result;
}

}  // namespace

std::vector<Case> upgrade_cases() {
  std::vector<Case> cases;
  for (const char* mode : kModes) {
    cases.push_back(children(mode));
    cases.push_back(devices(mode));
    cases.push_back(nothing_planted(mode));
  }
  cases.push_back(children_at_exec());
  cases.push_back(descriptors());
  for (const char* mode : {"precopy", "local"}) cases.push_back(legacy(mode));
  for (Case& one : lost_guests()) cases.push_back(std::move(one));
  for (Case& one : restarts()) cases.push_back(std::move(one));
  return cases;
}

}  // namespace migsoak::integration
