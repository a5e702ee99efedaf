// The driver "libvirt", with real daemons: a short ping-pong is clean and leaves nothing, SIGKILL of migsoak included;
// what the driver can't do is refused at the start.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using testing::HasSubstr;

class LibvirtTest : public MigsoakTest {
 protected:
  void SetUp() override {
    MigsoakTest::SetUp();
    if (const std::string why = missing_libvirt(); !why.empty()) GTEST_SKIP() << why;
  }
  std::string scenario(const std::string& rest = "", const std::string& of_side = "") const {
    return write("s.toml", fmt::format("name = \"libvirt-{}\"\n"
                                       "[[side]]\nname = \"a\"\ndriver = \"libvirt\"\n{}"
                                       "[[side]]\nname = \"b\"\ndriver = \"libvirt\"\n"
                                       "[[target]]\nname = \"disk0\"\n"
                                       "[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n{}",
                                       ::getpid(), of_side, rest));
  }
  std::string db() const { return path(db_); }
  std::size_t completed() const {
    if (!fs::exists(db())) return 0;
    const auto store = store::Store::open(db());
    if (!store) return 0;
    const auto rows = (*store)->iterations().value_or(std::vector<store::Store::IterationRow>{});
    return static_cast<std::size_t>(std::count_if(
        rows.begin(), rows.end(), [](const auto& row) { return row.status == record::IterationStatus::completed; }));
  }
  void expect_clean(const std::string& toml, int iterations, int lanes = 1) {
    const Outcome outcome = migsoak({"run", toml, "--db", db(), "--no-progress", "--iterations",
                                     std::to_string(iterations), "--lanes", std::to_string(lanes)},
                                    seconds(240));
    EXPECT_EQ(outcome.status, 0) << describe(outcome);
    const base::Json found = findings(db());
    EXPECT_EQ(found["verdict"], "pass");
    EXPECT_EQ(found["iterations"], iterations);
    EXPECT_TRUE(found["findings"].empty()) << found.dump(2);
    expect_nothing_left();
  }
  void expect_refused(const std::string& toml, const std::string& why) const {
    const Outcome outcome = migsoak({"run", toml, "--db", db(), "--no-progress"});
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_THAT(outcome.err, HasSubstr(why));
    EXPECT_FALSE(fs::exists(db()));
  }
  // A libvirtd that does this first.
  void stand_in(const std::string& lines) {
    fs::create_directory(path("bin"));
    write("bin/libvirtd",
          "#!/bin/sh\nif test \"$1\" != --version; then\n" + lines + "fi\nexec /usr/sbin/libvirtd \"$@\"\n");
    fs::permissions(path("bin/libvirtd"), fs::perms::owner_all);
    environment["PATH"] = path("bin") + ":" + std::getenv("PATH");
  }

  std::string db_ = "results.db";
};

TEST_F(LibvirtTest, AShortPingPongIsCleanAndLeavesNothing) {
  expect_clean(scenario(), 5);
  // The daemons are processes of the record like any other, and were looked at.
  const auto store = store::Store::open(db());
  ASSERT_TRUE(store);
  const auto series = (*store)->series_names();
  ASSERT_TRUE(series);
  for (const char* name : {"libvirtd:a", "libvirtd:b", "qemu:a", "qemu:b"}) {
    EXPECT_TRUE(std::any_of(series->begin(), series->end(), [&](const auto& one) { return one.subject == name; }))
        << name;
  }
}

TEST_F(LibvirtTest, WithoutAPidNamespaceOverTcpAsWell) {
  environment["MIGSOAK_CONTAINMENT"] = "marker";
  expect_clean(scenario("[migration]\ntransport = \"tcp\"\n[guest]\nmachine = \"pc\"\n"), 3);
}

// Each way that libvirt has, with its statistics on record.
TEST_F(LibvirtTest, EachWayOfMigratingIsCleanAndLeavesNothing) {
  std::set<std::string> seen;
  const auto run = [&](const std::string& name, const std::string& way, int iterations) {
    SCOPED_TRACE(name);
    db_ = name + ".db";
    expect_clean(scenario("[guest]\nworkload = \"verify\"\n[migration.libvirt]\n" + way), iterations);
    const auto store = store::Store::open(db());
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->for_each_observation([&](const record::Observation& observation) {
      seen.insert(observation.plan.libvirt->managed + " " + observation.plan.transport);
      return base::Result<void>();
    }));
    for (const char* metric : {"total_ms", "downtime_ms", "ram_bytes", "libvirt_call_ms"}) {
      const auto points = (*store)->series("migration", metric);
      ASSERT_TRUE(points);
      EXPECT_EQ(points->size(), static_cast<std::size_t>(iterations)) << metric;
    }
  };
  const std::string all = "managed = [\"peer-to-peer\", \"client\"]\ntransport = [\"unix\", \"tcp\", \"tunnelled\"]\n";
  // Definitions stay behind at each source, and are gone when the guest comes back.
  run("persistent", all + "flags = [\"persist-dest\", \"auto-converge\", \"compressed\", \"abort-on-error\"]\n", 8);
  run("moved",
      "managed = \"client\"\ntransport = \"tcp\"\n"
      "flags = [\"persist-dest\", \"undefine-source\", \"change-protection\"]\nbandwidth_mib = 500\n",
      3);
  run("parallel", "transport = [\"unix\", \"tcp\"]\nflags = [\"parallel\", \"unsafe\"]\nparallel_connections = 3\n", 3);
  EXPECT_EQ(seen, (std::set<std::string>{"client tcp", "client unix", "peer-to-peer tcp", "peer-to-peer tunnelled",
                                         "peer-to-peer unix"}));
}

// Not live: the guest stands still in a file, and goes on at the other end where it was.
TEST_F(LibvirtTest, AGuestIsSavedAndRestored) {
  expect_clean(scenario("[migration.libvirt]\ntransport = \"saved\"\n[guest]\nworkload = \"verify\"\n"), 4);
}

// The guest goes on before all of its memory has come.
TEST_F(LibvirtTest, AGuestGoesOnBeforeItsMemoryHasCome) {
  const std::string toml = write("p.toml",
                                 "name = \"libvirt-postcopy\"\n"
                                 "[[side]]\nname = \"a\"\ndriver = \"libvirt\"\n"
                                 "[[side]]\nname = \"b\"\ndriver = \"libvirt\"\n"
                                 "[[device]]\nid = \"vb0\"\ntype = \"virtio-blk\"\n"
                                 "[guest]\nworkload = \"verify\"\n"
                                 "[migration.libvirt]\nflags = [\"postcopy\"]\n");
  if (::geteuid() != 0) GTEST_SKIP() << "userfaultfd(2) is root's, mostly";
  expect_clean(toml, 4);
  const auto store = store::Store::open(db());
  ASSERT_TRUE(store);
  const auto handed_over = (*store)->series("migration", "libvirt_postcopy_ms");
  ASSERT_TRUE(handed_over);
  EXPECT_GE(handed_over->size(), 1U) << "one whose memory has gone before it can be asked for needs none";
}

// Each lane has daemons of its own, and takes none of the other's QEMUs for orphans.
TEST_F(LibvirtTest, LanesRunSideBySide) {
  for (const char* level : {"", "marker"}) {
    if (*level != '\0') environment["MIGSOAK_CONTAINMENT"] = level;
    db_ = fmt::format("lanes{}.db", level);
    expect_clean(scenario("[run]\nlineage = 2\n[guest]\nworkload = \"idle\"\n"), 8, 2);
  }
}

// Each kind comes and goes, is seen by the guest, and is where it was after a migration.
TEST_F(LibvirtTest, DevicesAreAttachedAndDetached) {
  for (const char* machine : {"pc", "q35"}) {
    db_ = fmt::format("{}.db", machine);
    std::string steps;
    int at = 0;
    for (const char* kind :
         {"virtio-blk", "vhost-user-blk", "scsi-disk", "virtio-net", "virtio-rng", "serial-port", "memory"}) {
      // One that stays for a migration.
      steps += fmt::format("[[hotplug.step]]\nkind = \"{0}\"\niteration = {1}\n", kind, at / 2);
      steps +=
          fmt::format("[[hotplug.step]]\nkind = \"{0}\"\niteration = {1}\naction = \"unplug\"\n", kind, at / 2 + 2);
      ++at;
    }
    expect_clean(scenario(fmt::format(
                     "[guest]\nworkload = \"verify\"\nmemory = \"256MiB\"\nmachine = \"{}\"\n[hotplug]\ntarget = "
                     "\"disk0\"\n{}",
                     machine, steps)),
                 6);
    const auto store = store::Store::open(db());
    ASSERT_TRUE(store);
    int done = 0;
    ASSERT_TRUE((*store)->for_each_event(record::event_kind::kHotplug, [&](std::int64_t, const record::Event& event) {
      EXPECT_TRUE(base::json_get<bool>(event.detail, "confirmed", false)) << event.text;
      ++done;
      return base::Result<void>();
    }));
    EXPECT_EQ(done, 14) << machine;
  }
}

// A daemon's leak is found, and is that daemon's: an eventfd for each connection that a peer makes to it.
TEST_F(LibvirtTest, ALeakOfADaemonIsFoundAndNamed) {
  const std::string toml =
      scenario("[guest]\nworkload = \"idle\"\n",
               fmt::format("libvirt_env = {{ LD_PRELOAD = \"{}\", FAULT_ON = \"accept\", FAULT_EXE = \"libvirtd\" }}\n",
                           fault("fd_leak_eventfd")));
  const Outcome outcome = migsoak({"run", toml, "--db", db(), "--no-progress", "--iterations", "18"}, seconds(240));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json leak = only(findings(db()), "fd-leak");
  EXPECT_EQ(leak["process"], "libvirtd:a");
  EXPECT_EQ(leak["kind"], "eventfd");
}

// A child that a daemon does not wait for and a file that stays in its directory, seen when the guest has moved away.
TEST_F(LibvirtTest, AChildAndAFileThatADaemonForgetsAreItsOwn) {
  // libvirt hands the preloading on to the QEMUs that it asks for their features, and so the files.
  const std::string toml = scenario(
      "[guest]\nworkload = \"idle\"\n",
      fmt::format("env = {{ FAULT_EXE = \"none\" }}\nlibvirt_env = {{ LD_PRELOAD = \"{}:{}\", FAULT_ON = \"accept\", "
                  "FAULT_EXE = \"libvirtd\" }}\n",
                  fault("zombie"), fault("leftover_file")));
  const Outcome outcome = migsoak({"run", toml, "--db", db(), "--no-progress", "--iterations", "5"}, seconds(240));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  std::set<std::string> found;
  const base::Json all = findings(db());
  for (const base::Json& finding : all["findings"]) {
    EXPECT_EQ(finding["process"], "libvirtd:a") << finding.dump(2);
    found.insert(finding["detector"].get<std::string>() + " " + finding["kind"].get<std::string>());
  }
  EXPECT_THAT(found, ::testing::IsSupersetOf({"zombie child", "leftover-file file"}));
  expect_nothing_left();
}

// Whatever its peer and its QEMU make of that.
TEST_F(LibvirtTest, AStoppedDaemonIsTheOneThatHung) {
  Running running =
      start({"run", scenario("[guest]\nworkload = \"idle\"\n"), "--db", db(), "--no-progress", "--iterations", "1000"});
  ASSERT_TRUE(eventually([this] { return completed() >= 1; }, seconds(120))) << running.err();
  for (const pid_t pid : processes()) {
    const std::string environ = read(fmt::format("/proc/{}/environ", pid));
    if (environ.find("MIGSOAK_PROCESS=libvirtd:b") != std::string::npos) ::kill(pid, SIGSTOP);
  }
  const Outcome outcome = running.wait(seconds(200));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  // The other daemon may give up on it first (its keepalive) and end the destination that it had started: a
  // consequence.
  const base::Json found = findings(db());
  ASSERT_EQ(found["findings"].size(), 1U) << found.dump(2);
  EXPECT_EQ(found["findings"][0]["detector"], "hang");
  EXPECT_EQ(found["findings"][0]["process"], "libvirtd:b");
  expect_nothing_left();
}

// Each with the domain and without it, killed and stopped: it runs on, is known again, and migrates.
TEST_F(LibvirtTest, DaemonsAreRestartedUnderTheGuest) {
  for (const char* how : {"kill", "graceful"}) {
    db_ = fmt::format("{}.db", how);
    expect_clean(scenario(fmt::format("[[restart]]\ndaemon = \"a\"\nhow = \"{0}\"\n[[restart]]\ndaemon = \"b\"\nhow = "
                                      "\"{0}\"\n",
                                      how)),
                 4);
    const auto store = store::Store::open(db());
    ASSERT_TRUE(store);
    int recovered = 0;
    ASSERT_TRUE(
        (*store)->for_each_event(record::event_kind::kExpectedTrouble, [&](std::int64_t, const record::Event& event) {
          EXPECT_EQ(base::json_get<std::string>(event.detail, "result", ""), "recovered") << event.text;
          ++recovered;
          return base::Result<void>();
        }));
    EXPECT_EQ(recovered, 8);
  }
}

// What is plugged after a restart, DIMMs included, goes along as ever: by XML of ours for the daemon's domain.
TEST_F(LibvirtTest, DevicesArePluggedAfterARestart) {
  std::string steps;
  for (const char* kind : {"virtio-blk", "memory"}) {
    steps += fmt::format("[[hotplug.step]]\nkind = \"{0}\"\niteration = 0\n", kind);
    steps += fmt::format("[[hotplug.step]]\nkind = \"{0}\"\niteration = 2\naction = \"unplug\"\n", kind);
  }
  expect_clean(scenario("[guest]\nmemory = \"256MiB\"\n[hotplug]\n" + steps +
                        "[[restart]]\ndaemon = \"a\"\n[[restart]]\ndaemon = \"b\"\nhow = \"graceful\"\n"),
               4);
}

TEST_F(LibvirtTest, ADaemonThatDoesNotComeBackIsFoundAndNamed) {
  const std::string mark = path("mark");
  stand_in(fmt::format("if test \"$MIGSOAK_PROCESS\" = libvirtd:b; then test ! -e {0} || exit 9; : > {0}; fi\n", mark));
  const Outcome outcome = migsoak(
      {"run", scenario("[[restart]]\ndaemon = \"b\"\nevery = 2\n"), "--db", db(), "--no-progress", "--iterations", "4"},
      seconds(240));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json finding = only(findings(db()), "crash");
  EXPECT_EQ(finding["process"], "libvirtd:b");
  EXPECT_EQ(finding["first_iteration"], 1);
  EXPECT_THAT(finding.value("title", ""), HasSubstr("status 9"));
  EXPECT_EQ(findings(db())["findings"].size(), 1U);
  expect_nothing_left();
}

// It comes back, and finds nothing of what it had noted of its domain.
TEST_F(LibvirtTest, ADaemonThatForgetsItsDomainIsFoundAndNamed) {
  const char* noted = ::geteuid() == 0 ? "/run/libvirt/qemu" : "\"$XDG_RUNTIME_DIR\"/libvirt/qemu/run";
  stand_in(fmt::format("rm -f {}/guest.xml\n", noted));
  const Outcome outcome = migsoak(
      {"run", scenario("[[restart]]\ndaemon = \"b\"\nevery = 2\n"), "--db", db(), "--no-progress", "--iterations", "4"},
      seconds(240));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json all = findings(db());
  ASSERT_EQ(all["findings"].size(), 1U) << all.dump(2);
  EXPECT_EQ(all["findings"][0]["process"], "libvirtd:b");
  EXPECT_THAT(all["findings"][0].dump(), HasSubstr("look-up of the domain"));
  expect_nothing_left();
}

TEST_F(LibvirtTest, NothingOutlivesAKilledRun) {
  for (const char* level : {"", "marker"}) {
    if (*level != '\0') environment["MIGSOAK_CONTAINMENT"] = level;
    db_ = fmt::format("killed{}.db", level);
    Running running = start({"run", scenario(), "--db", db(), "--no-progress", "--iterations", "1000"});
    ASSERT_TRUE(eventually([this] { return completed() >= 1; }, seconds(120))) << running.err();
    EXPECT_GE(processes().size(), 5U) << "migsoak, a target, two daemons, a QEMU";
    running.signal(SIGKILL);
    EXPECT_EQ(running.wait().status, 128 + SIGKILL);
    expect_nothing_left();
  }
}

TEST_F(LibvirtTest, WhatTheDriverCannotDoIsRefusedAtTheStart) {
  expect_refused(scenario("[migration]\nmode = \"cpr-exec\"\n"), "cpr-exec needs driver \"direct\"");
  expect_refused(scenario("[migration]\ntransport = \"fd\"\n"), "fd needs driver \"direct\"");
  const auto plugs = [this](const std::string& kind, const std::string& rest = "") {
    return scenario(fmt::format("[hotplug]\noperations = 1\n[hotplug.kinds]\n{} = 1\n{}", kind, rest));
  };
  expect_refused(plugs("virtio-balloon"), "its one balloon at its start");
  expect_refused(plugs("cpu"), "cpu needs driver \"direct\"");
  expect_refused(plugs("virtio-rng", "[hotplug.timings]\nat-once = 1\n"), "nothing of a domain that migrates");
  expect_refused(plugs("virtio-rng", "[hotplug.props]\nvirtio-rng = { packed = true }\n"), "hotplug.props: ");
  expect_refused(scenario("[migration.libvirt]\nmanaged = \"client\"\ntransport = \"tunnelled\"\n"),
                 "needs managed = \"peer-to-peer\"");
  if (::geteuid() == 0) {
    expect_refused(scenario("[migration.libvirt]\nflags = [\"postcopy\"]\n"), "a vhost-user device (vd0)");
  }
  expect_refused(scenario("[migration.libvirt]\nflags = [\"compresed\"]\n"), "did you mean 'compressed'");
  expect_refused(scenario("[[restart]]\ndaemon = \"a\"\ntiming = \"during\"\n"), "'during' needs a target");
  expect_refused(scenario("", "wrapper = [\"env\"]\n"), "wrapper");
  expect_refused(scenario("[guest]\nmachine = \"q35,smm=off\"\n"), "the type alone");
  expect_refused(scenario("[[side]]\nname = \"c\"\n"), "all sides have one driver");
}

// libvirt would refuse each migration, for the same reason.
TEST_F(LibvirtTest, WhereMemoryCannotBeLockedZerocopyIsRefused) {
  fs::create_directory(path("bin"));
  write("bin/prlimit", "#!/bin/sh\necho 'prlimit: failed to set the MEMLOCK resource limit' >&2\nexit 1\n");
  fs::permissions(path("bin/prlimit"), fs::perms::owner_all);
  environment["PATH"] = path("bin") + ":" + std::getenv("PATH");
  expect_refused(scenario("[migration.libvirt]\ntransport = \"tcp\"\nflags = [\"parallel\", \"zerocopy\"]\n"),
                 "does not allow that (prlimit: failed to set the MEMLOCK resource limit)");
}

// Such as in a bare chroot, whose root is no mount: that is no crash of libvirtd.
TEST_F(LibvirtTest, WhereThereCanBeNoMountNamespaceARootsRunIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: only a system daemon has a mount namespace of its own";
  fs::create_directory(path("bin"));
  write("bin/unshare", "#!/bin/sh\necho 'unshare: cannot change root filesystem propagation' >&2\nexit 1\n");
  fs::permissions(path("bin/unshare"), fs::perms::owner_all);
  environment["PATH"] = path("bin") + ":" + std::getenv("PATH");
  expect_refused(scenario(), "there can be none here (unshare: cannot change root filesystem propagation)");
}

}  // namespace

}  // namespace migsoak::integration
