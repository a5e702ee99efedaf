// What can go wrong around a migration that libvirt conducts, with real daemons: each is a finding with the right
// blame, in libvirt's own words; the guest stays whole on its source, and moves again once the trouble has gone.
#include <fcntl.h>
#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

namespace fs = std::filesystem;
using record::IterationStatus;
using std::chrono::seconds;
using testing::HasSubstr;

class LibvirtFailures : public MigsoakTest {
 protected:
  void SetUp() override {
    MigsoakTest::SetUp();
    if (const std::string why = missing_libvirt(); !why.empty()) GTEST_SKIP() << why;
  }
  std::string scenario(const std::string& rest = "", const std::string& of_destination = "") const {
    return write("s.toml", fmt::format("name = \"libvirt-failures-{}\"\n[guest]\nworkload = \"idle\"\n"
                                       "[[side]]\nname = \"a\"\ndriver = \"libvirt\"\n"
                                       "[[side]]\nname = \"b\"\ndriver = \"libvirt\"\n{}"
                                       "[[device]]\nid = \"vb0\"\ntype = \"virtio-blk\"\n{}",
                                       ::getpid(), of_destination, rest));
  }
  std::string db() const { return path("results.db"); }
  std::vector<std::string> arguments(const std::string& toml, int iterations) const {
    return {"run", toml, "--db", db(), "--no-progress", "--iterations", std::to_string(iterations)};
  }
  std::vector<IterationStatus> outcomes() const {
    std::vector<IterationStatus> all;
    const auto store = fs::exists(db()) ? store::Store::open(db()) : base::fail(base::ErrorKind::environment, "");
    if (!store) return all;
    for (const auto& row : (*store)->iterations().value_or(std::vector<store::Store::IterationRow>{})) {
      all.push_back(row.status);
    }
    return all;
  }
  std::size_t count(IterationStatus status) const {
    const auto all = outcomes();
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), status));
  }
  bool one_more(IterationStatus status) const {
    const std::size_t before = count(status);
    return eventually([&] { return count(status) > before; }, seconds(60));
  }
  // "libvirtd:a", "qemu:b"; 0: there is none.
  pid_t process(const std::string& name) const {
    for (const pid_t pid : processes()) {
      const std::string environ = read(fmt::format("/proc/{}/environ", pid));
      if (environ.find("MIGSOAK_PROCESS=" + name + '\0') != std::string::npos) return pid;
    }
    return 0;
  }
  // A file of the run's; empty: it is not there.
  std::string run_file(const std::string& name) const {
    for (const std::string& file : run_files()) {
      if (file.ends_with("/" + name)) return file;
    }
    return "";
  }
  // All findings are of this kind. The first.
  static base::Json only_kind(const base::Json& found, const std::string& detector, const std::string& kind) {
    base::Json first;
    for (const base::Json& finding : found["findings"]) {
      EXPECT_EQ(finding["detector"], detector) << finding.dump(2);
      EXPECT_EQ(finding["kind"], kind) << finding.dump(2);
      if (first.is_null()) first = finding;
    }
    EXPECT_FALSE(first.is_null()) << found.dump(2);
    return first;
  }
};

TEST_F(LibvirtFailures, APortThatSomebodyElseHas) {
  const Outcome outcome = migsoak(
      arguments(scenario("[migration]\ntransport = \"tcp\"\n",
                         fmt::format("env = {{ LD_PRELOAD = \"{}\", FAULT_LIMIT = \"1\", FAULT_STATE = \"{}\" }}\n",
                                     fault("port_taken"), path("ports"))),
                3));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json finding = only_kind(findings(db()), "migration-failure", "port-taken");
  EXPECT_EQ(finding["process"], "qemu:b");
  EXPECT_EQ(finding["blame"], "environment");
  EXPECT_EQ(finding["count"], 1);
  EXPECT_THAT(
      finding.value("title", ""),
      HasSubstr("internal error: unable to execute QEMU command 'migrate-incoming': Failed to find an available "
                "port: Address already in use"));
  EXPECT_EQ(outcomes(), (std::vector{IterationStatus::failed, IterationStatus::completed, IterationStatus::completed}));
  expect_nothing_left();
}

TEST_F(LibvirtFailures, ADiskThatIsNotThere) {
  Running running = start(arguments(scenario(), 1000));
  ASSERT_TRUE(one_more(IterationStatus::completed)) << running.err();
  const std::string image = run_file("vb0.img");
  ASSERT_FALSE(image.empty());
  fs::rename(image, path("away.img"));
  EXPECT_TRUE(one_more(IterationStatus::failed)) << running.err();
  fs::rename(path("away.img"), image);
  EXPECT_TRUE(one_more(IterationStatus::completed)) << "it does not go on: " << running.err();
  running.signal(SIGINT);
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json finding = only_kind(findings(db()), "migration-failure", "no-disk");
  EXPECT_EQ(finding["blame"], "environment");
  EXPECT_THAT(finding.value("title", ""),
              HasSubstr("'" + image + "': No such file or directory"));  // by libvirt or, a moment later, by QEMU
  EXPECT_EQ(count(IterationStatus::lost), 0U);
  expect_nothing_left();
}

using Connection = std::unique_ptr<virConnect, int (*)(virConnectPtr)>;
using Domain = std::unique_ptr<virDomain, int (*)(virDomainPtr)>;

// Defined by somebody else where the guest is not, as soon as that can be.
TEST_F(LibvirtFailures, ADomainOfThatNameIsThere) {
  virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  Running running = start(arguments(scenario(), 1000));
  ASSERT_TRUE(one_more(IterationStatus::completed)) << running.err();
  const std::string socket = run_file("lv-a/run/libvirt/libvirt-sock");
  ASSERT_FALSE(socket.empty());
  const std::string uri = fmt::format("qemu+unix:///{}?socket={}", ::geteuid() == 0 ? "system" : "session", socket);
  Connection connection(virConnectOpen(uri.c_str()), virConnectClose);
  ASSERT_NE(connection, nullptr);
  Domain domain(nullptr, virDomainFree);
  ASSERT_TRUE(eventually([&] {
    if (virConnectNumOfDomains(connection.get()) != 0) return false;  // it logs each refusal
    domain.reset(virDomainDefineXML(
        connection.get(),
        "<domain type='qemu'><name>guest</name><uuid>11111111-2222-3333-4444-555555555555</uuid><memory>16384</memory>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"));
    return domain != nullptr;
  }));
  EXPECT_TRUE(one_more(IterationStatus::failed)) << running.err();
  EXPECT_EQ(virDomainUndefine(domain.get()), 0);
  domain.reset();
  connection.reset();  // libvirt writes to a daemon that has ended, and that is a SIGPIPE
  EXPECT_TRUE(one_more(IterationStatus::completed)) << "it does not go on: " << running.err();
  running.signal(SIGINT);
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json found = findings(db());
  EXPECT_EQ(found["findings"].size(), 2U) << found.dump(2);
  const base::Json failure = only(found, "migration-failure");
  EXPECT_EQ(failure["kind"], "domain-exists");
  EXPECT_EQ(failure["process"], "qemu:a");
  EXPECT_EQ(failure["blame"], "environment");
  EXPECT_THAT(failure.value("title", ""), HasSubstr("domain 'guest' already exists with uuid 11111111-2222"));
  const base::Json foreign = only(found, "xml-drift");
  EXPECT_EQ(foreign["kind"], "domain-foreign");
  EXPECT_EQ(foreign["process"], "libvirtd:a");
  EXPECT_EQ(foreign["blame"], "environment");
  expect_nothing_left();
}

class LibvirtFullDisk : public LibvirtFailures {
 protected:
  void SetUp() override {
    LibvirtFailures::SetUp();
    if (IsSkipped()) return;
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: only it can mount a small file system";
    mounted_ = ::mount("none", run_base().c_str(), "tmpfs", 0, "size=256m") == 0;
    if (!mounted_) GTEST_SKIP() << "no file system can be mounted here: " << std::strerror(errno);
  }
  void TearDown() override {
    if (mounted_) {
      expect_nothing_left();
      ::umount2(run_base().c_str(), MNT_DETACH);
    }
    LibvirtFailures::TearDown();
  }

 private:
  bool mounted_ = false;
};

TEST_F(LibvirtFullDisk, NoSpaceForTheSavedState) {
  const std::string filler = run_base() + "/filler";
  {
    const int file = ::open(filler.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    EXPECT_EQ(::posix_fallocate(file, 0, 236 << 20), 0);
    ::close(file);
  }
  Running running = start(arguments(scenario("[migration.libvirt]\ntransport = \"saved\"\n"), 3));
  const bool failed = one_more(IterationStatus::failed);
  fs::remove(filler);
  ASSERT_TRUE(failed) << running.err();
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json finding = only_kind(findings(db()), "migration-failure", "no-space");
  EXPECT_EQ(finding["process"], "qemu:a") << "whose state it was";
  EXPECT_EQ(finding["blame"], "environment");
  EXPECT_THAT(finding.value("title", ""), HasSubstr("No space left on device"));
  EXPECT_EQ(outcomes().back(), IterationStatus::completed) << describe(outcome);
  EXPECT_EQ(count(IterationStatus::lost), 0U);
}

// There is no key for the CPU: an argument for one side's QEMU stands for a host that lacks the model.
TEST_F(LibvirtFailures, ACpuThatTheDestinationLacks) {
  const Outcome outcome = migsoak(arguments(scenario("", "extra_args = [\"-cpu\", \"NoSuchModel\"]\n"), 2));
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json finding = only_kind(findings(db()), "migration-failure", "start");
  EXPECT_EQ(finding["process"], "qemu:b");
  EXPECT_EQ(finding["blame"], "subject");
  EXPECT_EQ(finding["count"], 2);
  EXPECT_THAT(finding.value("title", ""),
              HasSubstr("its QEMU ended at its start: qemu-system-x86_64: unable to find CPU model 'NoSuchModel'"));
  EXPECT_THAT(finding["evidence"].value("line", ""), HasSubstr("migration: internal error: "));
  EXPECT_EQ(outcomes(), (std::vector{IterationStatus::failed, IterationStatus::failed}));
  expect_nothing_left();
}

struct Kill {
  const char* name;
  const char* daemon;
  const char* words;  // of libvirt, of the migration that fails by it; null: none need fail
};
class LibvirtDaemonKilled : public LibvirtFailures, public testing::WithParamInterface<Kill> {
 protected:
  // "before": the guest's QEMU is there and no other; "during": both are; "after": the destination's alone.
  bool it_is_time() const {
    const std::string when = std::string(GetParam().name).substr(0, std::strcspn(GetParam().name, "_"));
    if (when == "after" && !has_both_) {
      has_both_ = process("qemu:a") != 0 && process("qemu:b") != 0;
      return false;
    }
    return (process("qemu:a") != 0) == (when != "after") && (process("qemu:b") != 0) == (when != "before");
  }
  mutable bool has_both_ = false;
};

// What the other daemon, and the QEMU that was on its way, make of that is no finding of its own. Between the guest's
// start at the destination and the word of that, libvirt has no daemon that knows: then it runs on both.
TEST_P(LibvirtDaemonKilled, IsFoundAndNamed) {
  const Kill& kill = GetParam();
  // Slow enough for a look.
  const bool during = std::string(kill.name).starts_with("during");
  Running running = start(arguments(scenario(during ? "[migration.libvirt]\nbandwidth_mib = 16\n" : ""), 2));
  ASSERT_TRUE(eventually([this] { return it_is_time(); }, seconds(60))) << running.err();
  const pid_t daemon = process(kill.daemon);
  ASSERT_GT(daemon, 0);
  ::kill(daemon, SIGKILL);
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("the guest, a target or a daemon was lost"));
  const base::Json found = findings(db());
  const base::Json crash = only(found, "crash");
  EXPECT_EQ(crash["process"], kill.daemon);
  EXPECT_EQ(crash["kind"], "SIGKILL");
  for (const base::Json& finding : found["findings"]) {
    const bool of_build = finding["evidence"].contains("known");  // a defect of QEMU's own
    EXPECT_TRUE(finding["detector"] == "crash" || finding["kind"] == "heard-from-both" || of_build) << finding.dump(2);
  }
  if (kill.words != nullptr) {
    EXPECT_THAT(crash["evidence"].value("consequences", base::Json::array()).dump(), HasSubstr(kill.words));
  }
  expect_nothing_left();
}
INSTANTIATE_TEST_SUITE_P(Phases, LibvirtDaemonKilled,
                         testing::Values(Kill{"before_destination", "libvirtd:b", nullptr},
                                         Kill{"during_destination", "libvirtd:b", "migration: "},
                                         Kill{"during_source", "libvirtd:a", "migration: "},
                                         Kill{"after_destination", "libvirtd:b", nullptr},
                                         Kill{"after_source", "libvirtd:a", nullptr}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace

}  // namespace migsoak::integration
