// What a driver's daemons say that they have: asked where the guest is after its migration, and put on record.
#include <gmock/gmock.h>

#include <string>

#include "engine/fake_lineage.h"

namespace migsoak::engine {
namespace {

using ::testing::HasSubstr;

class DaemonDomainsTest : public FakeLineage, public ::testing::Test {
 protected:
  void SetUp() override {
    fake_->have_daemons({"a", "b"});
    for (const char* side : {"a", "b"}) {
      fake_->daemon(side).on_domains = [] { return base::Json{{"domains", base::Json::array()}}; };
    }
  }
  static std::vector<record::Document> told(const record::Observation& observation) {
    std::vector<record::Document> documents;
    for (const record::Document& document : observation.documents) {
      if (document.kind == record::document_kind::kDomains) documents.push_back(document);
    }
    return documents;
  }
};

TEST_F(DaemonDomainsTest, EachIsAskedWhereTheGuestHasArrived) {
  fake_->daemon("b").on_domains = [this]() -> base::Result<base::Json> {
    return base::Json{{"domains", {{{"name", "guest"}, {"on", fake_->guest_side()}}}}};
  };
  const record::Observation observation = iterate();
  const auto documents = told(observation);
  ASSERT_EQ(documents.size(), 2U);
  for (const record::Document& document : documents) {
    EXPECT_EQ(document.point, "arrived");
    EXPECT_NE(document.process_id, 0) << document.subject;
  }
  EXPECT_EQ(documents[0].subject, "libvirtd:a");
  EXPECT_EQ(documents[1].content["domains"][0]["on"], observation.plan.destination_side);
}

TEST_F(DaemonDomainsTest, OneThatDoesNotTellIsAReadThatFailed) {
  fake_->daemon("a").on_domains = []() -> base::Result<base::Json> {
    return base::fail(base::ErrorKind::timeout, "libvirt did not answer in time");
  };
  const record::Observation observation = iterate();
  EXPECT_EQ(told(observation).size(), 1U);
  const record::Event* failed = event_of(observation, record::event_kind::kReadFailed);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->subject, "libvirtd:a");
  EXPECT_EQ(failed->detail["read"], "domains");
  EXPECT_THAT(failed->detail["why"].get<std::string>(), HasSubstr("in time"));
}

}  // namespace
}  // namespace migsoak::engine
