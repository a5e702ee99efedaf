// Bad input: a clear line, exit status 2, nothing started.
#include "run_migsoak.h"

namespace migsoak::integration {

namespace {

using testing::HasSubstr;

class BadInput : public MigsoakTest {};

TEST_F(BadInput, UnknownKeyNamesFileLineAndNearest) {
  const std::string scenario = write("s.toml", "name = \"s\"\n\n[guest]\nmemry = \"128MiB\"\n");
  const Outcome outcome = migsoak({"run", scenario});
  EXPECT_EQ(outcome.status, 2) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("s.toml:4"));
  EXPECT_THAT(outcome.err, HasSubstr("memry"));
  EXPECT_THAT(outcome.err, HasSubstr("memory"));
}

}  // namespace
}  // namespace migsoak::integration
