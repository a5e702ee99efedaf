// `migsoak fleet` as a user types it; with the network, one suite for real.
#include <algorithm>
#include <filesystem>

#include "run_migsoak.h"

namespace migsoak::integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class FleetCommand : public MigsoakTest {
 protected:
  void SetUp() override {
    MigsoakTest::SetUp();
    environment["MIGSOAK_FLEET_DIR"] = path("fleet");
  }
  // Exit status 2, one line on stderr, and nothing in the fleet.
  void expect_bad_input(const std::vector<std::string>& arguments, const std::string& why) const {
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_THAT(outcome.err, HasSubstr(why));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(migsoak({"fleet", "list"}).out, "");
  }
};

TEST_F(FleetCommand, OwnBuildsFromAddToRemove) {
  const Outcome added = migsoak({"fleet", "add", "mine", "/usr/bin/qemu-system-x86_64"});
  EXPECT_EQ(added.status, 0) << describe(added);
  const Outcome listed = migsoak({"fleet", "list"});
  EXPECT_THAT(listed.out, AllOf(HasSubstr("mine "), HasSubstr(" own "), HasSubstr("/usr/bin/qemu-system-x86_64")));
  const base::Json rows = base::Json::parse(migsoak({"fleet", "list", "--json"}).out, nullptr, false);
  ASSERT_TRUE(rows.is_array() && rows.size() == 1) << rows.dump();
  EXPECT_EQ(rows[0]["name"], "mine");
  EXPECT_GT(rows[0]["devices"].size(), 100U);
  EXPECT_THAT(migsoak({"doctor"}).out, HasSubstr("mine "));
  EXPECT_EQ(migsoak({"fleet", "remove", "mine"}).status, 0);
  EXPECT_EQ(migsoak({"fleet", "list"}).out, "");
}

TEST_F(FleetCommand, BadInputIsOneLine) {
  expect_bad_input({"fleet", "add", "debian:bullseey"}, "did you mean 'debian:bullseye'?");
  expect_bad_input({"fleet", "add", "bullseye"}, "did you mean 'debian:bullseye'?");
  expect_bad_input({"fleet", "add", "mine"}, "migsoak fleet add NAME PATH");
  expect_bad_input({"fleet", "add", "mine", "/bin/cat"}, "'/bin/cat' is not a QEMU");
  expect_bad_input({"fleet", "add", "mine", "/usr/bin/qemu-system-x86_64", "--env", "nonsense"}, "NAME=VALUE");
  expect_bad_input({"fleet", "add", "debian:trixie", "/bin/cat"}, "are for builds of your own");
  expect_bad_input({"fleet", "remove", "mine"}, "no build 'mine' in the fleet");
}

// apt itself, against a port where nobody listens.
TEST_F(FleetCommand, AMirrorThatIsNotThere) {
  environment["MIGSOAK_FLEET_MIRROR"] = "http://127.0.0.1:9/debian";
  const Outcome outcome = migsoak({"fleet", "add", "debian:trixie"});
  EXPECT_EQ(outcome.status, 3) << describe(outcome);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("debian:trixie could not be fetched: http://127.0.0.1:9/debian: apt: "),
                                 HasSubstr("again: migsoak fleet add debian:trixie\n")));
  EXPECT_EQ(migsoak({"fleet", "list"}).out, "");
  for (const auto& item : std::filesystem::directory_iterator(path("fleet")))
    EXPECT_EQ(item.path().filename(), ".lock");
}

// The whole way, for the smallest suite that is not the system's own: about 10 s and 40 MB where there is a mirror.
TEST_F(FleetCommand, ASuiteForReal) {
  const Outcome added = migsoak({"fleet", "add", "debian:trixie", "--minutes", "3"}, std::chrono::seconds(200));
  if (added.status == 3 && added.err.find("reading the index") != std::string::npos &&
      added.err.find("downloading QEMU") == std::string::npos)
    GTEST_SKIP() << "no Debian mirror in reach: " << added.err.substr(added.err.rfind("migsoak: "));
  ASSERT_EQ(added.status, 0) << describe(added);
  const base::Json rows = base::Json::parse(migsoak({"fleet", "list", "--json"}).out, nullptr, false);
  ASSERT_TRUE(rows.is_array() && rows.size() == 1) << rows.dump();
  EXPECT_EQ(rows[0]["suite"], "debian:trixie");
  EXPECT_EQ(rows[0]["name"], "qemu-10.0");
  EXPECT_THAT(rows[0]["package_version"].get<std::string>(), HasSubstr(rows[0]["version"].get<std::string>()));
  EXPECT_EQ(rows[0]["modes"], base::Json::parse(R"(["normal", "cpr-reboot", "cpr-transfer"])"));
  const Outcome again = migsoak({"fleet", "add", "debian:trixie"});
  EXPECT_EQ(again.status, 0);
  EXPECT_THAT(again.err, AllOf(HasSubstr("already there"), Not(HasSubstr("downloading"))));
  EXPECT_EQ(migsoak({"fleet", "remove", "debian:trixie"}).status, 0);
  EXPECT_EQ(migsoak({"fleet", "list"}).out, "");
}

}  // namespace
}  // namespace migsoak::integration
