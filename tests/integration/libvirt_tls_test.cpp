// Migrations through libvirt over TLS: with the certificates that migsoak makes they are clean; where one end has those
// of somebody else the migration fails with GnuTLS's own words, and the guest stays where it was.
#include <filesystem>

#include "hypervisor/tls_certificates.h"
#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

using std::chrono::seconds;
using testing::HasSubstr;

class LibvirtTls : public MigsoakTest {
 protected:
  void SetUp() override {
    MigsoakTest::SetUp();
    if (const std::string why = missing_libvirt(); !why.empty()) GTEST_SKIP() << why;
  }
  std::string scenario(const std::string& way) const {
    return write("s.toml",
                 "name = \"libvirt-tls\"\n"
                 "[[side]]\nname = \"a\"\ndriver = \"libvirt\"\n"
                 "[[side]]\nname = \"b\"\ndriver = \"libvirt\"\n"
                 "[migration.libvirt]\n" +
                     way);
  }
  std::string db() const { return path("r.db"); }
  int completed() const {
    if (!std::filesystem::exists(db())) return 0;
    const auto store = store::Store::open(db());
    const auto rows = store ? (*store)->iterations() : tl::make_unexpected(store.error());
    int count = 0;
    if (!rows) return 0;
    for (const auto& row : *rows) count += row.status == record::IterationStatus::completed ? 1 : 0;
    return count;
  }
};

TEST_F(LibvirtTls, EachTransportIsCleanAndLeavesNothing) {
  const Outcome outcome =
      migsoak({"run",
               scenario("transport = [\"unix\", \"tcp\"]\nmanaged = [\"peer-to-peer\", \"client\"]\n"
                        "flags = { tls = 100, parallel = 50 }\n"),
               "--db", db(), "--no-progress", "--iterations", "6"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  const base::Json found = findings(db());
  EXPECT_EQ(found["iterations"], 6);
  EXPECT_TRUE(found["findings"].empty()) << found.dump(2);
  expect_nothing_left();
}

TEST_F(LibvirtTls, ACertificateOfSomebodyElseIsRefusedAndTheGuestStays) {
  Running running = start({"run", scenario("transport = \"tcp\"\nflags = [\"tls\"]\n"), "--db", db(), "--no-progress",
                           "--iterations", "1000", "--set", "run.failures_max=2"});
  ASSERT_TRUE(eventually([this] { return completed() >= 1; }, seconds(120))) << running.err();
  // Of another process, so of another authority.
  std::string certificates;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run_base())) {
    if (entry.path().filename() == "ca-cert.pem" && entry.path().string().find("/lv-b/") != std::string::npos) {
      certificates = entry.path().parent_path();
    }
  }
  ASSERT_NE(certificates, "");
  ASSERT_TRUE(hypervisor::write_tls_certificates(certificates));
  const Outcome outcome = running.wait();
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json found = findings(db());
  ASSERT_EQ(found["findings"].size(), 1U) << found.dump(2);
  EXPECT_EQ(found["findings"][0]["detector"], "migration-failure");
  EXPECT_THAT(found["findings"][0].dump(), HasSubstr("certificate"));
  expect_nothing_left();
}

}  // namespace

}  // namespace migsoak::integration
