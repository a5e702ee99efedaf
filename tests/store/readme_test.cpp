// results/README.md promises its queries work: each ```sql block is run against a synthetic run and must find
// something.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <sstream>

#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::store {
namespace {

std::vector<std::string> sql_blocks(const std::string& path) {
  std::ifstream in(path);
  std::vector<std::string> blocks;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line == "```sql") {
      inside = true;
      blocks.emplace_back();
    } else if (line == "```") {
      inside = false;
    } else if (inside) {
      blocks.back() += line + "\n";
    }
  }
  return blocks;
}

void make_run(const std::string& path) {
  auto store = Store::create(path, synthetic::manifest());
  ASSERT_TRUE(store) << store.error().describe();
  synthetic::Run run;
  for (int i = 0; i < 50; ++i) {
    record::Observation o = run.next(2);
    o.events.push_back({"hotplug", "guest", 0, "hotplug", 5, "", {{"kind", "cpu"}, {"confirmed", true}}});
    if (i == 48) {
      o.processes_born.push_back({9000, "qemu:a", 4711, 7, 1, "qemu-system-x86_64", 48, 1024});
      o.births.push_back({9000, 13, "memfd", "kept over exec since iteration 0, mapped: /memfd:ram0 (deleted)"});
    }
    if (i == 30) {
      record::Event event;
      event.kind = record::event_kind::kTargetRestart;
      event.subject = "target:disk0";
      event.detail = {{"how", "kill"},  {"timing", "during"}, {"result", "recovered"},
                      {"in_flight", 8}, {"io_errors", 0},     {"took_ms", 120.0}};
      o.events.push_back(event);
    }
    if (i == 49) o.processes_ended.push_back({2, false, -1, 11, true, "Segmentation fault"});
    ASSERT_TRUE((*store)->finish(o, record::Verdict::pass));
  }
  record::Finding finding;
  finding.detector = "fd-leak";
  ASSERT_TRUE((*store)->replace_findings({finding}, {{"name", "log-signature", "because", 1}}));
}

TEST(ResultsReadme, EveryQueryWorks) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  make_run(path);
  const auto blocks = sql_blocks(std::string(MIGSOAK_SOURCE_DIR) + "/results/README.md");
  EXPECT_GE(blocks.size(), 10u);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  for (const std::string& block : blocks) {
    SCOPED_TRACE(block);
    int rows = 0;
    const auto count = [](void* to, int, char**, char**) {
      ++*static_cast<int*>(to);
      return 0;
    };
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(db, block.c_str(), count, &rows, &message), SQLITE_OK)
        << (message != nullptr ? message : "");
    sqlite3_free(message);
    EXPECT_GT(rows, 0);
  }
  sqlite3_close(db);
}

// The views are for people, series() for the report: they must agree.
TEST(ResultsReadme, ViewsAgreeWithTheStore) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  make_run(path);
  auto store = Store::open(path);
  ASSERT_TRUE(store);
  std::map<std::string, std::map<std::int64_t, double>> viewed;
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  const auto collect = [](void* to, int, char** values, char**) {
    auto& all = *static_cast<decltype(viewed)*>(to);
    all[std::string(values[1]) + " " + values[2]][std::stoll(values[0])] = std::stod(values[3]);
    return 0;
  };
  // 17 digits: what it takes to bring a double back.
  ASSERT_EQ(sqlite3_exec(db, "SELECT iteration, subject, metric, printf('%!.17g', value) FROM sample_at", collect,
                         &viewed, nullptr),
            SQLITE_OK);
  const auto names = (*store)->series_names();
  ASSERT_TRUE(names);
  EXPECT_EQ(viewed.size(), names->size());
  for (const auto& name : *names) {
    const auto points = (*store)->series(name.subject, name.metric);
    ASSERT_TRUE(points);
    std::map<std::int64_t, double> got;
    for (const auto& point : *points) got[point.iteration] = point.value;
    EXPECT_EQ(got, viewed[name.subject + " " + name.metric]) << name.subject << ' ' << name.metric;
  }
  int open = 0;
  const auto read = [](void* to, int, char** values, char**) {
    *static_cast<int*>(to) = std::stoi(values[0]);
    return 0;
  };
  ASSERT_EQ(sqlite3_exec(db,
                         "SELECT count(*) FROM descriptor_life WHERE died_iteration IS NULL AND process_id = 2 AND "
                         "kind = 'eventfd'",
                         read, &open, nullptr),
            SQLITE_OK);
  EXPECT_EQ(open, (*store)->series("target:disk0", "fd.eventfd")->back().value);
  sqlite3_close(db);
}

}  // namespace
}  // namespace migsoak::store
