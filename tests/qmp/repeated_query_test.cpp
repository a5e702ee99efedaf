#include "qmp/repeated_query.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

namespace migsoak::qmp {
namespace {

using base::ErrorKind;
using base::Json;
using base::Result;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Answers when the test says so.
class AskedMonitor : public Monitor {
 public:
  void answer(std::uint64_t id, Result<Json> reply) { replies_.emplace(id, std::move(reply)); }
  const std::vector<std::string>& asked() const { return asked_; }
  const std::set<std::uint64_t>& taken_back() const { return taken_back_; }

  bool connected() const override { return true; }
  std::string end_reason() const override { return ""; }
  bool replied(std::uint64_t id) const override { return replies_.contains(id); }
  Result<Json> take_reply(std::uint64_t id, base::Deadline deadline) override {
    EXPECT_TRUE(deadline.passed()) << "it must not wait";
    const auto found = replies_.find(id);
    if (found == replies_.end()) {
      taken_back_.insert(id);
      return base::fail(ErrorKind::timeout, "no answer");
    }
    Result<Json> reply = std::move(found->second);
    replies_.erase(found);
    return reply;
  }
  std::vector<Event> take_events() override { return {}; }
  std::string protocol_error() const override { return ""; }

 private:
  std::uint64_t send_command(const std::string& command, const Json& /*arguments*/, int /*descriptor*/) override {
    asked_.push_back(command);
    return asked_.size();
  }
  bool find_event(const std::string& /*name*/, const std::string& /*key*/,
                  const std::string& /*value*/) const override {
    return false;
  }

  std::vector<std::string> asked_;
  std::map<std::uint64_t, Result<Json>> replies_;
  std::set<std::uint64_t> taken_back_;
};

constexpr milliseconds kLongAfter{3600 * 1000};

TEST(RepeatedQuery, AsksFirstWhenItsTimeHasCome) {
  AskedMonitor monitor;
  RepeatedQuery later(monitor, "query-status", kLongAfter);
  EXPECT_EQ(later.poll(), nullptr);
  EXPECT_THAT(monitor.asked(), IsEmpty());
  RepeatedQuery now(monitor, "query-migrate", milliseconds(0));
  EXPECT_EQ(now.poll(), nullptr);
  EXPECT_THAT(monitor.asked(), ElementsAre("query-migrate"));
}

TEST(RepeatedQuery, AsksAgainOnlyAfterTheAnswer) {
  AskedMonitor monitor;
  RepeatedQuery query(monitor, "query-migrate", milliseconds(0));
  for (int look = 0; look < 3; ++look) EXPECT_EQ(query.poll(), nullptr);
  EXPECT_THAT(monitor.asked(), ElementsAre("query-migrate"));
  monitor.answer(1, Json{{"status", "active"}});
  const Result<Json>* answer = query.poll();
  ASSERT_NE(answer, nullptr);
  EXPECT_EQ((**answer)["status"], "active");
  EXPECT_EQ(query.poll(), nullptr) << "that one has been told";
  EXPECT_THAT(monitor.asked(), ElementsAre("query-migrate", "query-migrate"));
}

TEST(RepeatedQuery, AnErrorIsAnAnswer) {
  AskedMonitor monitor;
  RepeatedQuery query(monitor, "query-migrate", milliseconds(0));
  EXPECT_EQ(query.poll(), nullptr);
  monitor.answer(1, base::fail(ErrorKind::subject, "the QMP connection ended"));
  const Result<Json>* answer = query.poll();
  ASSERT_NE(answer, nullptr);
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().kind, ErrorKind::subject);
}

// A reply that nobody takes would stay in the monitor for as long as its QEMU lives.
TEST(RepeatedQuery, TakesBackWhatIsNotAnswered) {
  AskedMonitor monitor;
  { RepeatedQuery(monitor, "query-migrate", milliseconds(0)).poll(); }
  EXPECT_THAT(monitor.taken_back(), ElementsAre(1));
  { RepeatedQuery(monitor, "query-migrate", kLongAfter).poll(); }
  EXPECT_THAT(monitor.taken_back(), ElementsAre(1)) << "it was never asked";
}

}  // namespace
}  // namespace migsoak::qmp
