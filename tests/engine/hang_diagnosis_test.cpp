// Who is to blame when nothing comes any more.
#include "engine/hang_diagnosis.h"

#include <gmock/gmock.h>

#include "engine/fake_lineage.h"

namespace migsoak::engine {
namespace {

class FindStuck : public FakeLineage, public ::testing::Test {
 protected:
  // The guest has come to "b".
  void SetUp() override { ASSERT_EQ(iterate().status, record::IterationStatus::completed); }
};

TEST_F(FindStuck, NobodyWhereAllAnswer) {
  EXPECT_EQ(find_stuck(*lineage_).subject, "");
}

TEST_F(FindStuck, AVmThatDoesNotAnswer) {
  fake_->hang("b");
  EXPECT_EQ(find_stuck(*lineage_).subject, "qemu:b");
}

// Its end is learnt after the end of its monitor: a refused load, on a busy host.
TEST_F(FindStuck, NotAVmThatIsAboutToEnd) {
  fake_->close_qmp("b");
  fake_->end_soon("b");
  EXPECT_EQ(find_stuck(*lineage_).subject, "");
}

TEST_F(FindStuck, AVmThatHasClosedItsMonitorAndStays) {
  fake_->close_qmp("b");
  EXPECT_EQ(find_stuck(*lineage_).subject, "qemu:b");
}

}  // namespace
}  // namespace migsoak::engine
