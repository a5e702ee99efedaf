// Targets that come and go with a QEMU (share = "per-vm").
#include <map>
#include <set>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {
namespace {

using testing::HasSubstr;

class PerVmTarget : public MigsoakTest {
 protected:
  std::string db() const { return path("r.db"); }
  std::string scenario(const std::string& sides, const std::string& more) const {
    return scenario_of(sides, "[[target]]\nname = \"disk0\"\nshare = \"per-vm\"\n", more);
  }
  std::string scenario_of(const std::string& sides, const std::string& target, const std::string& more = "") const {
    // RAM is no target's affair, and QEMU 7.2 under TCG may lose it on a busy host.
    return write("s.toml", "name = \"per-vm\"\niterations = 3\n[guest]\nram_verify = 0\n" + sides + target +
                               "[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n" + more);
  }
  Outcome run(const std::string& file, const std::vector<std::string>& sets = {}) const {
    std::vector<std::string> arguments = {"run", file, "--db", db()};
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    return migsoak(arguments);
  }
  // What the record says of the target's processes.
  struct Processes {
    std::map<std::string, int> born;  // by name
    std::set<std::int64_t> pids;
    int ended = 0;
    int exit_codes_of_zero = 0;
  };
  Processes processes_of_target() const {
    Processes found;
    std::set<std::int64_t> ids;
    const auto store = store::Store::open(db());
    EXPECT_TRUE(store) << (store ? "" : store.error().describe());
    if (!store) return found;
    const auto read = (*store)->for_each_observation([&](const record::Observation& seen) -> base::Result<void> {
      for (const record::ProcessInstance& process : seen.processes_born) {
        if (!process.name.starts_with("target:")) continue;
        ++found.born[process.name];
        found.pids.insert(process.pid);
        ids.insert(process.id);
      }
      for (const record::ProcessEnd& end : seen.processes_ended) {
        if (!ids.contains(end.process_id)) continue;
        ++found.ended;
        EXPECT_TRUE(end.expected);
        found.exit_codes_of_zero += end.exit_code == 0 ? 1 : 0;
      }
      return {};
    });
    EXPECT_TRUE(read) << (read ? "" : read.error().describe());
    return found;
  }
};

TEST_F(PerVmTarget, ComesBeforeItsQemuAndEndsWithIt) {
  const Outcome outcome = run(scenario(two_sides(), ""));
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_TRUE(findings(db())["findings"].empty()) << findings(db()).dump();
  const Processes seen = processes_of_target();
  EXPECT_EQ(seen.born, (std::map<std::string, int>{{"target:disk0@a", 2}, {"target:disk0@b", 2}}));
  EXPECT_EQ(seen.pids.size(), 4U);
  EXPECT_EQ(seen.ended, 3) << "the last one serves its guest to the end of the run";
  EXPECT_EQ(seen.exit_codes_of_zero, 3);
}

// On one side, and with the next destination beside the guest: up to three of one name.
TEST_F(PerVmTarget, SeveralOfOneSideLiveAtOnce) {
  const Outcome outcome = run(scenario("[[side]]\nname = \"a\"\n", "[run]\nraise_early = true\n"));
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_TRUE(findings(db())["findings"].empty()) << findings(db()).dump();
  EXPECT_EQ(processes_of_target().born, (std::map<std::string, int>{{"target:disk0@a", 4}}));
}

// A storage daemon behind a shell that ends it when its QEMU has gone, as virtiofsd ends by itself. The shell's status
// is what the target's end says.
std::string one_client_target(int status) {
  const std::string serve =
      "qemu-storage-daemon --blockdev driver=file,node-name=f,filename=$2,locking=off --export "
      "type=vhost-user-blk,id=x,node-name=f,writable=on,addr.type=unix,addr.path=$1 & "
      "clients() { grep -c \" 03 *[0-9]* $1\\$\" /proc/net/unix; }; "
      "until [ $(clients $1) -gt 0 ]; do sleep 0.05; done; while [ $(clients $1) -gt 0 ]; do sleep 0.05; done; "
      "kill $!; wait $!; exit " +
      std::to_string(status);
  return "[[target]]\nname = \"disk0\"\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", '''" + serve +
         "''', \"sh\", "
         "\"{socket}\", \"{image}\"]\n[target.options]\nends_with_client = true\n";
}

TEST_F(PerVmTarget, OneThatEndsWithItsClientIsNoCrash) {
  const Outcome outcome = run(scenario_of(two_sides(), one_client_target(0)));
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_TRUE(findings(db())["findings"].empty()) << findings(db()).dump();
  const Processes seen = processes_of_target();
  EXPECT_EQ(seen.pids.size(), 4U);
  EXPECT_EQ(seen.exit_codes_of_zero, 3);
}

TEST_F(PerVmTarget, OneThatEndsWithItsClientButNotWellIsFound) {
  const Outcome outcome = run(scenario_of(two_sides(), one_client_target(3)), {"iterations=1"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json crash = only(findings(db()), "crash");
  EXPECT_EQ(crash.value("process", ""), "target:disk0@a");
  EXPECT_EQ(crash.value("kind", ""), "exit-3");
}

// The finding is the target's, not that of the QEMU which could not be started without it.
TEST_F(PerVmTarget, OneThatDoesNotComeUpIsFoundByItsOwnName) {
  const Outcome outcome =
      run(scenario(two_sides(), ""),
          {"target.disk0.wrapper=[\"/bin/sh\", \"-c\", \"case \\\"$*\\\" in *@b.*) echo no room; exit 9;; esac; exec "
           "\\\"$@\\\"\", \"wrapper\"]"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json crash = only(findings(db()), "crash");
  EXPECT_EQ(crash.value("process", ""), "target:disk0@b");
  EXPECT_THAT(crash.value("title", ""), HasSubstr("status 9"));
}

}  // namespace
}  // namespace migsoak::integration
