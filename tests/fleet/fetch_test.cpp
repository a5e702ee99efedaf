// Fetching a suite, with an apt-get of the test's own: every way it can fail, and a whole build made of the system's
// QEMU. The real one is in tests/integration/fleet_test.cpp.
#include <signal.h>

#include <algorithm>

#include "fleet/apt.h"
#include "fleet/tree.h"
#include "fleet_fixture.h"

namespace migsoak::fleet {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// What it does is told by FAKE_APT.
constexpr const char* kFakeApt = R"(conf=; before=
for word; do [ "$before" = -c ] && conf=$word; before=$word; done
folder=${conf%/*}
[ -n "$folder" ] && cp "$folder/sources.list" "$folder/apt.conf" "$FAKE_KEEP" 2>/dev/null
echo "$*" >>"$FAKE_KEEP/calls"
case " $* " in
  *" indextargets "*) printf '%s\n' 'http://security.example/debian-security/' 'http://mirror.example/debian/' ;;
  *" update "*)
    [ "$FAKE_APT" = no-mirror ] || exit 0
    echo 'W: a warning'
    echo 'E: Failed to fetch http://mirror.example/debian/InRelease  Could not connect'
    echo 'E: Some index files failed to download.'
    exit 100 ;;
  *" --simulate "*) printf 'Reading...\nInst qemu-system-x86 (1:%s+ds-1 Debian:13/stable [amd64])\n' "$FAKE_VERSION" ;;
  *" --download-only "*)
    case $FAKE_APT in
      half) echo part >"$folder/archives/one.deb"; echo 'E: Unable to fetch some archives'; exit 100 ;;
      damaged) echo 'no package' >"$folder/archives/one.deb" ;;
      nothing) ;;
      hang) exec sleep 100 ;;
      *) cp "$FAKE_DEB" "$folder/archives/" ;;
    esac ;;
esac
)";

// The system's QEMU with its libraries as a package, as a suite's packages would lay them out.
constexpr const char* kMakeDeb = R"(set -e
root=$1/root libraries=lib/x86_64-linux-gnu
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/$libraries" "$root/usr/share/qemu" "$root/usr/lib/x86_64-linux-gnu/qemu"
printf '%s\n' 'Package: qemu-fake' 'Version: 1' 'Architecture: amd64' 'Maintainer: test <t@example.org>' \
  'Description: the system QEMU' >"$root/DEBIAN/control"
cp /usr/bin/qemu-system-x86_64 "$root/usr/bin/"
cp /usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so "$root/usr/lib/x86_64-linux-gnu/qemu/"
ldd /usr/bin/qemu-system-x86_64 | awk '$3 ~ /^\// { print $3 }' | xargs -I{} cp -L {} "$root/$libraries/"
cp -L /lib64/ld-linux-x86-64.so.2 "$root/$libraries/ld-2.31.so"
ln -s ld-2.31.so "$root/$libraries/ld-linux-x86-64.so.2"
dpkg-deb --root-owner-group -Znone --build "$root" "$1/qemu-fake.deb"
)";

class Fetch : public FleetTest {
 protected:
  void SetUp() override {
    FleetTest::SetUp();
    path_before_ = std::getenv("PATH");
    write_script("bin/apt-get", kFakeApt);
    ::setenv("PATH", ((dir_ / "bin").string() + ":" + path_before_).c_str(), 1);
    ::setenv("FAKE_KEEP", dir_.c_str(), 1);
    ::setenv("FAKE_VERSION", "7.2", 1);
    ::setenv("FAKE_APT", "", 1);
  }
  void TearDown() override {
    ::setenv("PATH", path_before_.c_str(), 1);
    ::unsetenv("MIGSOAK_FLEET_MIRROR");
    FleetTest::TearDown();
  }
  std::string kept(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(dir_ / name).rdbuf();
    return text.str();
  }
  void make_deb() {
    const std::string script = write_script("make-deb", kMakeDeb);
    const auto made = run_tool(host(), {script, dir_}, soon());
    ASSERT_TRUE(made.has_value()) << made.error().describe();
    ::setenv("FAKE_DEB", (dir_ / "qemu-fake.deb").c_str(), 1);
  }
  base::Result<Added> add(const std::string& suite, bool refresh = false, base::Deadline deadline = soon()) {
    return add_debian(host(), suite, refresh, deadline, [this](const std::string& line) {
      said_.push_back(line);
      if (on_line_) on_line_(line);
    });
  }
  // One line, a way on, and nothing left.
  void expect_failed(const base::Result<Added>& added, base::ErrorKind kind, const std::string& why) const {
    ASSERT_FALSE(added.has_value());
    EXPECT_EQ(added.error().kind, kind) << added.error().describe();
    EXPECT_THAT(added.error().describe(), AllOf(HasSubstr(why), Not(HasSubstr("\n"))));
    EXPECT_THAT(folders(), IsEmpty());
  }

  std::string path_before_;
  std::vector<std::string> said_;
  std::function<void(const std::string&)> on_line_;
};

TEST_F(Fetch, AnUnknownSuiteIsRefusedBeforeAnythingRuns) {
  const auto added = add("debian:bullseey");
  expect_failed(added, base::ErrorKind::bad_input, "no suite 'debian:bullseey', did you mean 'debian:bullseye'?");
  EXPECT_EQ(kept("calls"), "");
}

TEST_F(Fetch, NoMirrorAnswers) {
  ::setenv("FAKE_APT", "no-mirror", 1);
  const auto added = add("debian:trixie");
  expect_failed(added, base::ErrorKind::environment, "again: migsoak fleet add debian:trixie");
  // The machine's own mirror first, and the first reason apt gave, not its last line.
  EXPECT_THAT(added.error().message,
              HasSubstr("debian:trixie could not be fetched: http://mirror.example/debian: apt: Failed to fetch "
                        "http://mirror.example/debian/InRelease  Could not connect; http://deb.debian.org/debian: "));
  EXPECT_THAT(added.error().message, HasSubstr("http://archive.debian.org/debian: "));
  EXPECT_THAT(kept("sources.list"), HasSubstr("check-valid-until=no"));  // the archive was the last one tried
}

TEST_F(Fetch, AMirrorOfTheUsersIsTheOnlyOne) {
  ::setenv("FAKE_APT", "no-mirror", 1);
  ::setenv("MIGSOAK_FLEET_MIRROR", "http://127.0.0.1:9/debian", 1);
  const auto added = add("debian:bookworm-backports");
  expect_failed(added, base::ErrorKind::environment, "could not be fetched: http://127.0.0.1:9/debian: apt: ");
  EXPECT_THAT(added.error().message, Not(HasSubstr("deb.debian.org")));
  EXPECT_THAT(kept("sources.list"), AllOf(HasSubstr("http://127.0.0.1:9/debian bookworm main\n"),
                                          HasSubstr("http://127.0.0.1:9/debian bookworm-backports main\n")));
}

TEST_F(Fetch, ADownloadThatFailsHalfWay) {
  ::setenv("FAKE_APT", "half", 1);
  expect_failed(add("debian:trixie"), base::ErrorKind::environment, "downloading: apt: Unable to fetch some archives");
  ::setenv("FAKE_APT", "nothing", 1);
  expect_failed(add("debian:trixie"), base::ErrorKind::environment, "apt downloaded nothing");
  ::setenv("FAKE_APT", "damaged", 1);
  expect_failed(add("debian:trixie"), base::ErrorKind::environment, "unpacking one.deb: ");
}

TEST_F(Fetch, ADownloadThatNeverEnds) {
  ::setenv("FAKE_APT", "hang", 1);
  expect_failed(add("debian:trixie", false, base::Deadline::in(std::chrono::seconds(2))), base::ErrorKind::timeout,
                "downloading");
}

TEST_F(Fetch, AnInterruptedDownload) {
  ::setenv("FAKE_APT", "hang", 1);
  on_line_ = [this](const std::string& line) {
    if (!line.starts_with("downloading")) return;
    stop_.raise();
    stop_.raise();
  };
  const auto started = base::Clock::now();
  expect_failed(add("debian:trixie"), base::ErrorKind::interrupted, "");
  EXPECT_LT(base::milliseconds_between(started, base::Clock::now()), 10'000);
}

TEST_F(Fetch, WithoutPatchelfNothingIsDownloaded) {
  // A PATH with the fake apt-get and dpkg-deb only.
  std::filesystem::create_symlink("/usr/bin/dpkg-deb", dir_ / "bin/dpkg-deb");
  ::setenv("PATH", (dir_ / "bin").c_str(), 1);
  expect_failed(add("debian:trixie"), base::ErrorKind::environment, "needs 'patchelf': apt-get install patchelf");
  EXPECT_EQ(kept("calls"), "");
}

TEST_F(Fetch, ABuildOfItsOwnTreeAlone) {
  make_deb();
  const auto added = add("debian:bookworm");
  ASSERT_TRUE(added.has_value()) << added.error().describe();
  EXPECT_THAT(folders(), ElementsAre("qemu-7.2"));
  const Build& build = added->build;
  EXPECT_EQ(build.suite, "debian:bookworm");
  EXPECT_EQ(build.package_version, "1:7.2+ds-1");
  EXPECT_THAT(build.args, ElementsAre("-L", (fleet() / "qemu-7.2/tree/usr/share/qemu").string()));
  // It runs from where it is now, and its machine types are the system's.
  const auto again = inspect_build(host(), {"", build.binary, build.args, build.env}, soon());
  ASSERT_TRUE(again.has_value()) << again.error().describe();
  const auto system = inspect_build(host(), {"", kSystemQemu, {}, {}}, soon());
  ASSERT_TRUE(system.has_value());
  EXPECT_EQ(again->machines.size(), system->machines.size());
  // qxl is a module: the system's QEMU finds it in the system's folder, where this one may not look.
  EXPECT_TRUE(system->has_device("qxl"));
  EXPECT_FALSE(again->has_device("qxl"));
  EXPECT_FALSE(build.has_device("qxl"));
  // Again: nothing to do, and apt is not even asked.
  const std::string calls = kept("calls");
  const auto twice = add("debian:bookworm");
  ASSERT_TRUE(twice.has_value());
  EXPECT_TRUE(twice->was_there);
  EXPECT_EQ(kept("calls"), calls);
  const auto looked = add("debian:bookworm", true);
  ASSERT_TRUE(looked.has_value());
  EXPECT_TRUE(looked->was_there);
  EXPECT_NE(kept("calls"), calls);
}

TEST_F(Fetch, ANewerPackageStandsBesideTheOld) {
  make_deb();
  ASSERT_TRUE(add("debian:forky").has_value());
  ::setenv("FAKE_VERSION", "7.3.1", 1);
  const auto newer = add("debian:forky", true);
  ASSERT_TRUE(newer.has_value()) << newer.error().describe();
  EXPECT_FALSE(newer->was_there);
  EXPECT_EQ(newer->replaced, "qemu-7.2");
  EXPECT_EQ(newer->build.id, "qemu-7.3.1");
  const auto suite = find("debian:forky");
  ASSERT_TRUE(suite.has_value() && suite->has_value());
  EXPECT_EQ((*suite)->id, "qemu-7.3.1");
  const auto old = find("qemu-7.2");
  ASSERT_TRUE(old.has_value() && old->has_value());
  EXPECT_EQ((*old)->id, "qemu-7.2");
  EXPECT_EQ((*old)->suite, "");
  // Another package of the same version takes the place of the entry in one step.
  std::ofstream(fleet() / "qemu-7.3.1/tree/usr/bin/qemu-system-x86_64", std::ios::app) << "damaged";
  const auto mended = add("debian:forky");
  ASSERT_TRUE(mended.has_value()) << mended.error().describe();
  EXPECT_FALSE(mended->was_there);
  EXPECT_THAT(folders(), testing::UnorderedElementsAre("qemu-7.2", "qemu-7.3.1"));
}

TEST_F(Fetch, SuitesOfOneVersionBothFit) {
  make_deb();
  ASSERT_TRUE(add("debian:forky").has_value());
  const auto second = add("debian:trixie");
  ASSERT_TRUE(second.has_value()) << second.error().describe();
  EXPECT_EQ(second->build.id, "qemu-7.2-trixie");
}

TEST(Tree, OnlyWholeFolderNamesAreClosed) {
  const auto closed = [](const std::string& text) {
    std::string bytes = text;
    close_system_folders(bytes);
    return bytes;
  };
  using std::string_literals::operator""s;
  EXPECT_EQ(closed("\0/usr/share/qemu\0"s), "\0/-sr/share/qemu\0"s);
  EXPECT_EQ(closed("\1/usr/lib/x86_64-linux-gnu/qemu\0"s), "\1/-sr/lib/x86_64-linux-gnu/qemu\0"s);
  EXPECT_EQ(closed("\0/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu\0"s),
            "\0/-sr/share/qemu:/-sr/share/seabios:/-sr/lib/ipxe/qemu\0"s);
  EXPECT_EQ(closed("\0/etc/ld.so.cache\0/lib/\0"s), "\0/-tc/ld.so.cache\0/-ib/\0"s);
  for (const std::string& other : {"\0/usr/share/qemu-data\0"s, "\0see /usr/share/qemu\0"s, "\0/opt/usr/share/qemu\0"s,
                                   "\0/etc/ld.so.preload\0"s, "/usr/share/qemu"s, ""s})
    EXPECT_EQ(closed(other), other);
}

TEST(Apt, TheReasonIsTheFirstError) {
  EXPECT_EQ(apt_reason("Get:1 x\nE: first\nE: second\n"), "first");
  EXPECT_EQ(apt_reason("only\nthis\n\n"), "this");
  EXPECT_EQ(apt_reason(""), "");
  EXPECT_EQ(apt_reason("E: a\x1b[31m"), "a\\x1b[31m");
}

}  // namespace
}  // namespace migsoak::fleet
