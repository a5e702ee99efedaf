// Bad input: one clear line on stderr, exit status 2, nothing started and nothing left.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "run_migsoak.h"

namespace migsoak::integration {

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class BadInput : public MigsoakTest {
 protected:
  // Runs it, expects status 2 and a single line on stderr that holds all of `parts`.
  void expect_refused(const std::vector<std::string>& arguments, const std::vector<std::string>& parts) const {
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_EQ(outcome.out, "") << describe(outcome);
    EXPECT_LE(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << describe(outcome);
    for (const std::string& part : parts) EXPECT_THAT(outcome.err, HasSubstr(part)) << describe(outcome);
  }
  void expect_scenario_refused(const std::string& text, const std::vector<std::string>& parts) const {
    SCOPED_TRACE(text);
    const std::string scenario = write("s.toml", text);
    expect_refused({"run", scenario, "--db", path("never.db")}, parts);
    EXPECT_FALSE(fs::exists(path("never.db")));
  }
  void expect_set_refused(const std::string& set, const std::vector<std::string>& parts) const {
    SCOPED_TRACE(set);
    const std::string scenario = write("s.toml", good());
    expect_refused({"run", scenario, "--db", path("never.db"), "--set", set}, parts);
  }

  static std::string good() { return "name = \"good\"\niterations = 2\n" + two_sides() + served_disk(); }
};

TEST_F(BadInput, UnknownKeyNamesFileLineAndNearest) {
  expect_scenario_refused("name = \"s\"\n\n[guest]\nmemry = \"128MiB\"\n",
                          {"s.toml:4", "'guest.memry'", "did you mean 'memory'"});
  expect_scenario_refused("nam = \"s\"\n", {"s.toml:1", "'nam'", "did you mean 'name'"});
  expect_scenario_refused("name = \"s\"\n[[side]]\nname = \"a\"\nquemu = \"x\"\n",
                          {"s.toml:4", "quemu'", "did you mean 'qemu'"});
  expect_scenario_refused("name = \"s\"\n[gate]\nfd-leek = \"warn\"\n", {"s.toml:3", "did you mean 'fd-leak'"});
}

TEST_F(BadInput, WrongTypesAndValues) {
  expect_scenario_refused("name = \"s\"\n[guest]\ncpus = \"two\"\n", {"s.toml:3", "guest.cpus", "a whole number"});
  expect_scenario_refused("name = \"s\"\niterations = 1.5\n", {"s.toml:2", "iterations", "a whole number"});
  expect_scenario_refused("name = 7\n", {"s.toml:1", "name", "a string"});
  expect_scenario_refused("name = \"s\"\nside = \"a\"\n", {"s.toml:2", "side", "[["});
  expect_scenario_refused("name = \"s\"\n[[side]]\nname = \"a\"\nenv = {A = 1}\n", {"s.toml:4", "env.A", "a string"});
  expect_scenario_refused("name = \"s\"\n[run]\nraise_early = \"yes\"\n", {"s.toml:3", "true or false"});
  expect_scenario_refused("name = \"s\"\n[guest]\nmemory = \"1 lot\"\n", {"s.toml:3", "not a size"});
  expect_scenario_refused("name = \"s\"\n[guest]\nmemory = \"1MiB\"\n", {"s.toml:3", "out of range"});
  expect_scenario_refused("name = \"s\"\niterations = 0\n", {"s.toml:2", "out of range"});
  expect_scenario_refused("name = \"s\"\n[run]\non_loss = \"stopp\"\n", {"s.toml:3", "did you mean 'stop'"});
  expect_scenario_refused("name = \"s\"\n[migration]\nmode = \"precopi\"\n", {"s.toml:3", "did you mean 'precopy'"});
  expect_scenario_refused("name = \"s\"\n[migration]\nmode = []\n", {"s.toml:3", "at least one mode"});
  expect_scenario_refused("name = \"../s\"\n", {"s.toml:1", "not a name"});
  expect_scenario_refused("summary = \"s\"\n", {"s.toml", "name", "needed"});
  expect_scenario_refused("name = \"s\"\n[[gate.waive]]\ndetector = \"crash\"\n", {"s.toml", "reason"});
}

TEST_F(BadInput, ThingsThatDoNotGoTogether) {
  const std::string side = "name = \"s\"\n[[side]]\nname = \"a\"\n";
  const std::string device = "[[device]]\nid = \"vd0\"\ntype = \"virtio-blk\"\n";
  expect_scenario_refused(side + device + device, {"s.toml:8", "device.id", "'vd0' is taken"});
  expect_scenario_refused(side + "[[side]]\nname = \"a\"\n", {"s.toml:5", "side.name", "'a' is taken"});
  expect_scenario_refused(side + "[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\n", {"s.toml:", "needs target"});
  expect_scenario_refused(side + "[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"d\"\n",
                          {"s.toml:7", "no [[target]] is named 'd'"});
  expect_scenario_refused(side + "[[target]]\nname = \"d\"\n", {"s.toml:5", "no [[device]] uses target 'd'"});
  expect_scenario_refused(side + device + "[device.on.zz]\ndiscard = false\n", {"s.toml:", "no [[side]] named 'zz'"});
  // What only QEMU's command line would reject: told before anything starts, too.
  expect_scenario_refused(side + "[[device]]\nid = \"0vd\"\ntype = \"virtio-blk\"\n", {"'0vd'", "letter"});
  std::string many;
  for (int i = 0; i < 28; ++i) {
    many += "[[device]]\nid = \"d" + std::to_string(i) + "\"\ntype = \"virtio-blk\"\n";
  }
  expect_scenario_refused(side + many, {"more than 27 devices"});
  const std::string command = "[[target]]\nname = \"d\"\nkind = \"command\"\n";
  const std::string served = "[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"d\"\n";
  expect_scenario_refused(side + command + served, {"s.toml:", "argv"});
  expect_scenario_refused(side + command + "argv = [\"/bin/cat\"]\n" + served, {"argv", "{socket}"});
}

TEST_F(BadInput, FilesThatAreNoScenario) {
  expect_refused({"run", path("missing.toml")}, {"missing.toml", "can't read"});
  expect_refused({"run", dir()}, {"is a directory"});
  expect_scenario_refused("name = \"s\"\n[guest\n", {"s.toml:2", "not TOML"});
  expect_scenario_refused(std::string("\x7f"
                                      "ELF\0\0\x01\xff",
                                      8),
                          {"s.toml:1", "not TOML"});
  expect_scenario_refused(std::string(2 << 20, ' '), {"larger than 1 MiB"});
  expect_refused({"plan", path("missing.toml"), "--iteration", "0"}, {"missing.toml"});
}

TEST_F(BadInput, AQemuThatIsNone) {
  const std::string text_file = write("text", "I am no program\n");
  const std::string runnable = write("runnable", "I am no program either\n");
  const std::string mute = write("mute", "#!/bin/sh\nexit 3\n");
  for (const std::string& file : {runnable, mute}) ::chmod(file.c_str(), 0755);
  expect_set_refused("side.a.qemu=/bin/true", {"side.a.qemu", "'/bin/true' is not a QEMU", "printed"});
  expect_set_refused("side.b.qemu=" + text_file, {"side.b.qemu", text_file, "not executable"});
  expect_set_refused("side.b.qemu=" + runnable, {"side.b.qemu", runnable, "can't be run"});
  expect_set_refused("side.b.qemu=" + mute, {"side.b.qemu", mute, "exit status 3"});
  expect_set_refused("side.a.qemu=" + dir(), {"side.a.qemu", dir(), "directory"});
  expect_set_refused("side.a.qemu=/nowhere/qemu", {"side.a.qemu", "/nowhere/qemu", "does not exist"});
  expect_set_refused("side.a.qemu=qemu-system-nothing", {"side.a.qemu", "no 'qemu-system-nothing' in PATH"});
  expect_set_refused("side.a.qemu=", {"side.a", "no QEMU executable"});
  expect_set_refused("target.disk0.executable=/nowhere/daemon", {"target.disk0.executable", "/nowhere/daemon"});
  expect_set_refused("guest.machine=no-such-machine", {"guest.machine", "no-such-machine"});
  EXPECT_FALSE(fs::exists(path("never.db")));
}

TEST_F(BadInput, SetPathsAndValues) {
  expect_set_refused("guest.memry=128MiB", {"'guest.memry'", "did you mean 'memory'"});
  expect_set_refused("guest.cpus=two", {"guest.cpus", "two"});
  expect_set_refused("guest.memory=lots", {"guest.memory", "not a size"});
  expect_set_refused("guest=1", {"'guest' is a table"});
  expect_set_refused("side.c.qemu=x", {"no [[side]] with name = \"c\"", "a, b"});
  expect_set_refused("device.vd1.size=1MiB", {"no [[device]] with id = \"vd1\""});
  expect_set_refused("iterations", {"PATH=VALUE"});
  expect_set_refused("=3", {"PATH=VALUE"});
  expect_set_refused("iterations=-1", {"iterations", "out of range"});
  expect_set_refused("iterations=3\nseed=4", {"iterations"});
  expect_set_refused("nonsense.at.all=1", {"unknown key"});
}

TEST_F(BadInput, CommandLine) {
  const std::string scenario = write("s.toml", good());
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"run"},
      {"run", scenario, "--frobnicate"},
      {"run", scenario, "--iterations", "0"},
      {"run", scenario, "--iterations", "many"},
      {"run", scenario, "--seed", "-1"},
      {"run", scenario, "--lanes", "0"},
      {"run", scenario, "--duration", "soon"},
      {"run", scenario, "--duration", "0s"},
      {"run", scenario, "--resume"},
      {"run", scenario, scenario},
      {"plan", scenario},
      {"plan", scenario, "--iteration", "-1"},
      {"findings"},
      {"list", "everything"},
      {"replay", path("x.db")},
  };
  for (const std::vector<std::string>& arguments : wrong) {
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 2) << testing::PrintToString(arguments) << describe(outcome);
    EXPECT_FALSE(outcome.err.empty()) << testing::PrintToString(arguments);
    EXPECT_THAT(outcome.err, Not(HasSubstr("terminate"))) << describe(outcome);
  }
  EXPECT_EQ(migsoak({"--help"}).status, 0);
  EXPECT_EQ(migsoak({"run", "--help"}).status, 0);
  EXPECT_EQ(migsoak({"--version"}).status, 0);
}

TEST_F(BadInput, SocketPathBeyond107Bytes) {
  const std::string scenario = write("s.toml", good());
  const std::string deep = path(std::string(80, 'd'));
  fs::create_directory(deep);
  environment["MIGSOAK_RUN_BASE"] = deep;
  expect_refused({"run", scenario, "--db", path("never.db")}, {"socket path", "107", "MIGSOAK_RUN_BASE"});
  EXPECT_FALSE(fs::exists(path("never.db")));
  EXPECT_TRUE(fs::is_empty(deep)) << "something was left in " << deep;
  // A base that just does for QEMU's own sockets, and not for those of a target with a long name.
  const std::string close = path(std::string(65, 'd'));
  fs::create_directory(close);
  environment["MIGSOAK_RUN_BASE"] = close;
  std::string long_name = read(scenario);
  for (std::size_t at = 0; (at = long_name.find("disk0", at)) != std::string::npos;) {
    long_name.replace(at, 5, std::string(32, 'n'));
  }
  expect_refused({"run", write("long.toml", long_name), "--db", path("never.db")}, {"socket path", "nnnn", "107"});
  EXPECT_FALSE(fs::exists(path("never.db")));
  environment["MIGSOAK_RUN_BASE"] = path("nowhere");
  const Outcome outcome = migsoak({"run", scenario, "--db", path("never.db")});
  EXPECT_EQ(outcome.status, 3) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("nowhere")) << describe(outcome);
}

TEST_F(BadInput, DatabasesThatAreNone) {
  const std::string text =
      write("text.db", "no database at all, only text that is longer than a header of SQLite is\n");
  const std::string empty = write("empty.db", "");
  const std::string foreign = path("foreign.db");
  const std::string sql = "sqlite3 " + foreign + " 'create table t (x)' >/dev/null 2>&1";
  const bool have_foreign = std::system(sql.c_str()) == 0;
  std::vector<std::pair<std::string, std::string>> cases = {
      {text, "text.db"}, {empty, "empty"}, {path("missing.db"), "no database"}, {dir(), "directory"}};
  if (have_foreign) cases.emplace_back(foreign, "not one of migsoak's");
  for (const auto& [db, part] : cases) {
    SCOPED_TRACE(db);
    expect_refused({"findings", db}, {part});
    expect_refused({"findings", db, "--json"}, {part});
    expect_refused({"report", db}, {part});
    expect_refused({"report", db, "--junit", path("out.xml")}, {part});
    expect_refused({"judge", db}, {part});
    expect_refused({"replay", db, "--iteration", "0"}, {part});
    expect_refused({"run", write("s.toml", good()), "--db", db, "--resume"}, {part});
  }
  EXPECT_FALSE(fs::exists(path("out.xml")));
}

}  // namespace
}  // namespace migsoak::integration
