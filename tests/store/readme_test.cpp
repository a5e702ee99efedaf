// results/README.md promises its queries work: each ```sql block is run against a synthetic run and must answer what
// readme_queries.txt holds. MIGSOAK_UPDATE_GOLDEN=1 writes that file anew.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "record/expected_trouble.h"
#include "record/journal.h"
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
      record::ExpectedTrouble trouble;
      trouble.declared = {record::TroubleCause::restart, "kill", "during", {"target:disk0"}, {"reconnects"}, ""};
      trouble.result = "recovered";
      trouble.in_flight = 8;
      trouble.took_ms = 120;
      record::Journal journal(o);
      record::record_trouble(journal, trouble, 0);
    }
    if (i == 49) o.processes_ended.push_back({2, false, -1, 11, true, "Segmentation fault"});
    ASSERT_TRUE((*store)->finish(o, record::Verdict::pass));
  }
  record::Finding finding;
  finding.detector = "fd-leak";
  ASSERT_TRUE((*store)->replace_findings({finding}, {{"name", "log-signature", "because", 1}}));
}

// Rows as lines, cells between bars; the first ones of a long answer, and how many there were.
std::string answer(const std::string& path, const std::string& query) {
  constexpr int kRowsShownMax = 6;
  struct Rows {
    std::string text;
    int count = 0;
  } rows;
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  const auto take = [](void* to, int columns, char** values, char**) {
    auto& all = *static_cast<Rows*>(to);
    if (all.count++ >= kRowsShownMax) return 0;
    for (int i = 0; i < columns; ++i)
      all.text += (i > 0 ? "|" : "") + std::string(values[i] == nullptr ? "-" : values[i]);
    all.text += "\n";
    return 0;
  };
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(db, query.c_str(), take, &rows, &message), SQLITE_OK) << (message != nullptr ? message : "");
  sqlite3_free(message);
  sqlite3_close(db);
  EXPECT_GT(rows.count, 0) << query;
  return rows.text + "= " + std::to_string(rows.count) + " rows\n";
}

TEST(ResultsReadme, EveryQueryAnswersAsBefore) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  make_run(path);
  const auto blocks = sql_blocks(std::string(MIGSOAK_SOURCE_DIR) + "/results/README.md");
  EXPECT_GE(blocks.size(), 10u);
  std::string all;
  for (const std::string& block : blocks) all += block + answer(path, block) + "\n";
  const std::string file = std::string(MIGSOAK_SOURCE_DIR) + "/tests/store/readme_queries.txt";
  if (std::getenv("MIGSOAK_UPDATE_GOLDEN") != nullptr) std::ofstream(file) << all;
  std::ifstream in(file);
  std::ostringstream golden;
  golden << in.rdbuf();
  EXPECT_EQ(all, golden.str());
}

record::DescriptorBirth eventfd(std::int64_t process, int fd) {
  return {process, fd, "eventfd", "anon_inode:[eventfd]"};
}

// The harness is named by each lineage, and what it holds is listed again.
record::Observation lineage_start(int lineage, std::int64_t first_process) {
  record::Observation o;
  o.iteration = lineage * 2;
  o.lineage = lineage;
  o.status = record::IterationStatus::completed;
  o.plan = {o.iteration, "a", "b", "precopy", "unix"};
  o.processes_born = {{1, "harness", 100, 5, 0, "migsoak", 0, 1024},
                      {first_process, "target:disk0", 100 + first_process, 7, 0, "qsd", o.iteration, 1024},
                      {first_process + 1, "qemu:b", 200 + first_process, 9, 0, "qemu", o.iteration, 1024}};
  o.births = {eventfd(1, 4), eventfd(first_process, 5), eventfd(first_process + 1, 6)};
  return o;
}

std::string still_open(const std::string& path) {
  for (const std::string& block : sql_blocks(std::string(MIGSOAK_SOURCE_DIR) + "/results/README.md")) {
    if (block.find("still_open") != std::string::npos) return answer(path, block);
  }
  return "no such query";
}

TEST(ResultsReadme, StillOpenCountsEachDescriptorOnce) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  {
    auto store = Store::create(path, synthetic::manifest());
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->finish(lineage_start(0, 2), record::Verdict::pass));
    // Nobody tells the end of a lineage's processes: the next one's beginning does.
    ASSERT_TRUE((*store)->finish(lineage_start(1, 4), record::Verdict::pass));
  }
  EXPECT_EQ(still_open(path), "harness|0|eventfd|1|4\nqemu:b|2|eventfd|1|6\ntarget:disk0|2|eventfd|1|5\n= 3 rows\n");
  // A session that was killed leaves its processes behind, the harness as well; the next one closes them.
  {
    auto store = Store::open(path, /*writable=*/true);
    ASSERT_TRUE(store);
    record::Observation resumed = lineage_start(2, 11);
    resumed.processes_born[0].id = 10;
    resumed.births[0].process_id = 10;
    ASSERT_TRUE((*store)->finish(resumed, record::Verdict::pass));
  }
  EXPECT_EQ(still_open(path), "harness|4|eventfd|1|4\nqemu:b|4|eventfd|1|6\ntarget:disk0|4|eventfd|1|5\n= 3 rows\n");
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
