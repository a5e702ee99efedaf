// What schema 3 stores otherwise than its elders: processes once, findings row by row, plans without text of their own.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include "store/equal.h"
#include "store/old_schema.h"
#include "store/opened.h"
#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::store {
namespace {

using record::Verdict;

TEST(Store, ADatabaseOfSchema1IsReadAndGoesOn) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  synthetic::Run run;
  record::Observation first = run.next();
  ASSERT_TRUE(created(path)->finish(first, Verdict::pass));
  turn_back(path, 1);
  first.documents.clear();  // there was no place for them
  record::expect_equal(first, *opened(path)->observation(0));
  // Reading it does not change it.
  EXPECT_EQ(SQLite::Database(path).execAndGet("PRAGMA user_version").getInt(), 1);

  const record::Observation second = run.next();
  ASSERT_FALSE(second.documents.empty());
  ASSERT_TRUE(opened(path, true)->finish(second, Verdict::pass));
  const auto store = opened(path);
  record::expect_equal(first, *store->observation(0));
  record::expect_equal(second, *store->observation(1));
  EXPECT_EQ(SQLite::Database(path).execAndGet("PRAGMA user_version").getInt(), 3);
}

// A run with all that schema 3 stores otherwise.
std::vector<record::Observation> fill_for_schemas(const std::string& path) {
  const auto store = created(path);
  std::vector<record::Observation> given;
  synthetic::Run run;
  for (int i = 0; i < 6; ++i) {
    record::Observation o = run.next();
    o.lineage = i / 3;
    o.plan.machine = i % 2 == 0 ? "q35" : "";
    if (i == 2) o.plan.operations.resize(2);
    if (i == 3) o.processes_born.insert(o.processes_born.begin(), given[0].processes_born.front());
    o.events.push_back({"hotplug", "guest", 0, "hotplug", 5, "", {{"kind", "cpu"}, {"took_ms", 1.5 + i}}});
    EXPECT_TRUE(store->finish(o, Verdict::pass));
    given.push_back(std::move(o));
  }
  record::Finding finding;
  finding.detector = finding.fingerprint = "hang";
  finding.count = 7;
  finding.evidence = {{"last_iteration", 5}};
  EXPECT_TRUE(store->replace_findings({finding}, {}));
  return given;
}

void expect_the_same(const Store& store, const std::vector<record::Observation>& given) {
  std::size_t at = 0;
  ASSERT_TRUE(store.for_each_observation([&](const record::Observation& o) -> base::Result<void> {
    if (at < given.size()) record::expect_equal(given[at], o);
    ++at;
    return {};
  }));
  EXPECT_EQ(at, given.size());
  const auto rows = store.iterations();
  ASSERT_TRUE(rows);
  for (std::size_t i = 0; i < given.size(); ++i) {
    EXPECT_EQ((*rows)[i].machine, given[i].plan.machine) << i;
    EXPECT_EQ((*rows)[i].operations, static_cast<std::int64_t>(given[i].plan.operations.size())) << i;
  }
  const auto findings = store.findings();
  ASSERT_TRUE(findings);
  ASSERT_EQ(findings->size(), 1u);
  EXPECT_EQ(findings->front().count, 7);
  EXPECT_EQ(findings->front().evidence, (base::Json{{"last_iteration", 5}}));
  int operations = 0;
  ASSERT_TRUE(store.for_each_event("hotplug", [&](std::int64_t, const record::Event& event) -> base::Result<void> {
    EXPECT_EQ(event.detail, (base::Json{{"kind", "cpu"}, {"took_ms", 1.5 + operations++}}));
    return {};
  }));
  EXPECT_EQ(operations, 6);
}

TEST(Store, OlderSchemasAreReadAsTheyAreAndMigratedByWhoeverWrites) {
  for (const int version : {1, 2}) {
    SCOPED_TRACE(version);
    const scratch::Directory directory;
    const std::string path = directory.file("results.db");
    auto given = fill_for_schemas(path);
    expect_the_same(*opened(path), given);
    turn_back(path, version);
    for (record::Observation& o : given) {
      if (version == 1) o.documents.clear();
    }
    expect_the_same(*opened(path), given);
    EXPECT_EQ(SQLite::Database(path).execAndGet("PRAGMA user_version").getInt(), version);
    EXPECT_EQ(SQLite::Database(path).execAndGet("SELECT count(*) FROM process WHERE id = 1").getInt(), 2);
    expect_the_same(*opened(path, true), given);
    EXPECT_EQ(SQLite::Database(path).execAndGet("PRAGMA user_version").getInt(), 3);
    EXPECT_EQ(SQLite::Database(path).execAndGet("SELECT count(*) FROM process WHERE id = 1").getInt(), 1);
  }
}

TEST(Store, AProcessIsOnRecordOnce) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  const auto store = created(path);
  const record::ProcessInstance harness{1, "harness", 100, 5, 0, "migsoak", 0, 1024};
  record::Observation o;
  o.status = record::IterationStatus::completed;
  for (o.iteration = 0; o.iteration < 3; ++o.iteration) {
    o.lineage = static_cast<int>(o.iteration);
    o.processes_born = {harness};
    ASSERT_TRUE(store->finish(o, Verdict::pass));
    record::expect_equal(o, *store->observation(o.iteration));
  }
  SQLite::Database db(path);
  EXPECT_EQ(db.execAndGet("SELECT count(*) FROM process").getInt(), 1);
  EXPECT_EQ(db.execAndGet("SELECT count(*) FROM process_end").getInt(), 0) << "it outlives the lineages that name it";
  o.processes_born.front().pid = 101;
  const auto refused = store->finish(o, Verdict::pass);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("process 1 is on record already, as another one"));
}

record::Finding noise(std::int64_t count) {
  record::Finding finding;
  finding.detector = "log-signature";
  finding.fingerprint = "log-signature-1";
  finding.count = count;
  finding.first_iteration = 0;
  finding.title = "noise";
  finding.evidence = {{"last_iteration", count - 1}, {"iterations", {0, 1}}};
  return finding;
}

TEST(Store, ObservationAndFindingsAreOneTransaction) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  const auto store = created(path);
  synthetic::Run run;
  const record::Observation first = run.next();
  SQLite::Database(path, SQLite::OPEN_READWRITE)
      .exec("CREATE TRIGGER no BEFORE INSERT ON finding BEGIN SELECT RAISE(ABORT, 'no'); END");
  EXPECT_FALSE(store->finish(first, Verdict::fail, {{noise(1)}, {}, {}}));
  EXPECT_EQ(store->summary()->iterations_finished, 0) << "a verdict without its finding";
  SQLite::Database(path, SQLite::OPEN_READWRITE).exec("DROP TRIGGER no");
  ASSERT_TRUE(store->finish(first, Verdict::fail, {{noise(1)}, {}, {{"name", "log-signature", "because", 1}}}));
  EXPECT_EQ(store->findings()->size(), 1u);
  EXPECT_EQ(store->exclusions()->size(), 1u);
  record::expect_equal(first, *store->observation(0));
}

TEST(Store, ANoisyFindingCostsItsCounters) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  const auto store = created(path);
  SQLite::Database db(path, SQLite::OPEN_READWRITE);
  db.exec("CREATE TABLE rewritten (position INTEGER)");
  db.exec("CREATE TRIGGER seen AFTER UPDATE OF json ON finding BEGIN INSERT INTO rewritten VALUES (new.position); END");
  synthetic::Run run;
  record::Finding other = noise(1);
  other.fingerprint = "log-signature-0";
  other.severity = record::Severity::warn;
  for (int i = 0; i < 10; ++i) {
    Store::FindingChanges changes{{noise(i + 1)}, {}, {{"name", "log-signature", "because", i + 1}}};
    if (i == 0) changes.changed.push_back(other);
    ASSERT_TRUE(store->finish(run.next(), Verdict::fail, changes));
  }
  EXPECT_EQ(db.execAndGet("SELECT count(*) FROM rewritten").getInt(), 2) << "once for each, when it was new";
  auto findings = *store->findings();
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0], noise(10));
  EXPECT_EQ(findings[1], other) << "warnings come last";
  EXPECT_EQ(store->exclusions()->front().count, 10);
  // Another session does not know what is there.
  const auto again = opened(path, true);
  ASSERT_TRUE(again->finish(run.next(), Verdict::fail, {{noise(11)}, {other.fingerprint}, {}}));
  findings = *again->findings();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0], noise(11));
}

TEST(Store, ALineageBeginsInItsOwnLane) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  for (int i = 0; i < 12; ++i) {  // two lanes in turn, lineages of three
    record::Observation o;
    o.iteration = i;
    o.lane = i % 2;
    o.lineage = i / 6 * 2 + i % 2;
    o.status = record::IterationStatus::completed;
    ASSERT_TRUE(store->begin(o));
    if (i != 11) {
      ASSERT_TRUE(store->finish(o, Verdict::pass));
    }
  }
  EXPECT_EQ(*store->lineage_begin(4), 0);
  EXPECT_EQ(*store->lineage_begin(5), 1);
  EXPECT_EQ(*store->lineage_begin(6), 6);
  EXPECT_EQ(*store->lineage_begin(9), 7);
  EXPECT_EQ(*store->lineage_begin(11), std::nullopt) << "it was not finished";
  EXPECT_EQ(*store->lineage_begin(99), std::nullopt);
}

TEST(Store, MachineTypesAndPlansCostNoTextOfTheirOwn) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  const auto store = created(path);
  for (int i = 0; i < 40; ++i) {
    record::Observation o;
    o.iteration = i;
    o.plan = {i, "a", "b", "precopy", "unix", "q35"};
    if (i % 2 == 1) o.plan.operations.push_back({"cpu", "plug", "settled", "hp0", "", ""});
    o.status = record::IterationStatus::completed;
    ASSERT_TRUE(store->begin(o));
    ASSERT_TRUE(store->finish(o, Verdict::pass));
    record::expect_equal(o, *store->observation(i));
  }
  EXPECT_EQ(SQLite::Database(path).execAndGet("SELECT count(*) FROM text").getInt(), 1);
}

}  // namespace
}  // namespace migsoak::store
