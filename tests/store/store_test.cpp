#include "store/store.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>

#include <thread>

#include "store/equal.h"
#include "store/opened.h"
#include "store/scratch.h"
#include "store/synthetic.h"

namespace migsoak::store {
namespace {

using record::Verdict;

TEST(Store, KeepsTheManifest) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  created(path).reset();
  const auto store = opened(path);
  EXPECT_EQ(record::to_json(store->manifest()), record::to_json(synthetic::manifest()));
  EXPECT_EQ(store->path(), path);
}

TEST(Store, AResumedRunPlansAnother) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  created(path).reset();
  ASSERT_TRUE(opened(path, true)->plan_iterations(7));
  record::Manifest expected = synthetic::manifest();
  expected.iterations_planned = 7;
  EXPECT_EQ(record::to_json(opened(path)->manifest()), record::to_json(expected));
  EXPECT_EQ(SQLite::Database(path).execAndGet("SELECT iterations_planned FROM run").getInt(), 7);
}

TEST(Store, CreateRefusesAnExistingFileAndLeavesItAlone) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  created(path).reset();
  const auto again = Store::create(path, synthetic::manifest());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, base::ErrorKind::bad_input);
  EXPECT_EQ(again.error().message, "database " + path + " exists already");
  opened(path);
  const auto nowhere = Store::create(directory.file("none/results.db"), synthetic::manifest());
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().kind, base::ErrorKind::bad_input);
}

TEST(Store, TheRowExistsBeforeTheSpawn) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  const auto store = created(path);
  synthetic::Run run;
  ASSERT_TRUE(store->begin(run.begun()));
  // Seen by another connection, while the writer has it open.
  const auto reader = opened(path);
  const auto rows = reader->iterations();
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().status, record::IterationStatus::started);
  EXPECT_EQ(rows->front().source, "a");
  EXPECT_EQ(rows->front().destination, "b");
  EXPECT_FALSE(rows->front().verdict);
  EXPECT_EQ(reader->summary()->iterations_finished, 0);
  EXPECT_EQ(reader->summary()->last_finished, -1);
  EXPECT_EQ(reader->summary()->iterations_interrupted, 1);
  ASSERT_TRUE(store->finish(run.next(), Verdict::pass));
  EXPECT_EQ(reader->summary()->iterations_finished, 1);
  EXPECT_EQ(reader->summary()->iterations_interrupted, 0);
  EXPECT_EQ(reader->iterations()->front().verdict, Verdict::pass);
}

TEST(Store, InterruptedIterationIsReplacedAndNoted) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  synthetic::Run run;
  {
    const auto store = created(path);
    ASSERT_TRUE(store->begin(run.begun()));
    ASSERT_TRUE(store->finish(run.next(), Verdict::pass));
    ASSERT_TRUE(store->begin(run.begun()));  // and the harness dies
  }
  const auto store = opened(path, true);
  EXPECT_EQ(store->summary()->iterations_interrupted, 1);
  EXPECT_EQ(store->summary()->last_finished, 0);
  record::Observation again = run.begun();
  again.plan.source_side = "c";
  ASSERT_TRUE(store->begin(again));
  EXPECT_EQ(store->iterations()->back().source, "c");
  EXPECT_EQ(store->summary()->iterations_interrupted, 2);  // the noted one, and the one that goes on
  ASSERT_TRUE(store->finish(run.next(), Verdict::pass));
  EXPECT_EQ(store->summary()->iterations_interrupted, 1);
  EXPECT_EQ(store->summary()->iterations_finished, 2);
}

TEST(Store, AFinishedIterationIsNeverOverwritten) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  synthetic::Run run;
  const record::Observation begun = run.begun();
  const record::Observation done = run.next();
  ASSERT_TRUE(store->begin(begun));
  ASSERT_TRUE(store->finish(done, Verdict::pass));
  EXPECT_EQ(store->begin(begun).error().kind, base::ErrorKind::bad_input);
  EXPECT_EQ(store->finish(done, Verdict::fail).error().kind, base::ErrorKind::bad_input);
  record::expect_equal(done, *store->observation(0));
  EXPECT_EQ(store->iterations()->front().verdict, Verdict::pass);
  record::Observation unfinished = run.begun();
  EXPECT_FALSE(store->finish(unfinished, Verdict::pass));
}

TEST(Store, SummaryCountsStatusesAndLineages) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  const std::vector<record::IterationStatus> statuses = {
      record::IterationStatus::completed, record::IterationStatus::failed, record::IterationStatus::lost,
      record::IterationStatus::unknown, record::IterationStatus::completed};
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    record::Observation o;
    o.iteration = static_cast<std::int64_t>(i);
    o.status = statuses[i];
    o.lineage = i < 3 ? 0 : 1;
    o.processes_born.push_back({static_cast<std::int64_t>(7 + i), "qemu:a", 1, 1, 0, "q", o.iteration, 1024});
    ASSERT_TRUE(store->finish(o, Verdict::pass));
  }
  const auto summary = store->summary();
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->by_status,
            (std::map<std::string, std::int64_t>{{"completed", 2}, {"failed", 1}, {"lost", 1}, {"unknown", 1}}));
  EXPECT_EQ(summary->lineages, 2);
  EXPECT_EQ(summary->last_lineage, 1);
  EXPECT_EQ(summary->last_process_id, 11);
  EXPECT_FALSE(summary->verdict);
  EXPECT_EQ(summary->end_reason, "");
}

TEST(Store, EndOfRunIsTakenBackWhenItGoesOn) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  synthetic::Run run;
  ASSERT_TRUE(store->end_run(Verdict::unknown, "interrupted"));
  EXPECT_EQ(store->summary()->verdict, Verdict::unknown);
  EXPECT_EQ(store->summary()->end_reason, "interrupted");
  EXPECT_GT(store->summary()->ended_unix_ms, 0);
  ASSERT_TRUE(store->begin(run.begun()));
  EXPECT_FALSE(store->summary()->verdict);
  ASSERT_TRUE(store->end_run(Verdict::pass, "finished"));
  ASSERT_TRUE(store->end_run(Verdict::fail, "stopped: finding"));
  EXPECT_EQ(store->summary()->verdict, Verdict::fail);
}

TEST(Store, FindingsAndExclusionsAreReplacedAsAWhole) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  record::Finding finding;
  finding.detector = "fd-leak";
  finding.severity = record::Severity::warn;
  finding.blame = record::Blame::environment;
  finding.process = "target:disk0";
  finding.kind = "eventfd";
  finding.first_iteration = 0;
  finding.detected_iteration = 9;
  finding.count = 3;
  finding.rate_per_iteration = 0.02;
  finding.exhausts_at_iteration = 143;
  finding.title = "title";
  finding.fingerprint = "print";
  finding.evidence = {{"deep", {1, 2.5, "x", nullptr}}};
  record::Finding bare;
  bare.detector = "hang";
  ASSERT_TRUE(store->replace_findings({bare, finding}, {{"name", "log-signature", "because", 4}}));
  const auto findings = store->findings();
  ASSERT_TRUE(findings) << findings.error().describe();
  ASSERT_EQ(findings->size(), 2u);
  EXPECT_EQ(record::to_json((*findings)[0]), record::to_json(bare));
  EXPECT_EQ(record::to_json((*findings)[1]), record::to_json(finding));
  const auto exclusions = store->exclusions();
  ASSERT_TRUE(exclusions);
  ASSERT_EQ(exclusions->size(), 1u);
  EXPECT_EQ((*exclusions)[0].reason, "because");
  EXPECT_EQ((*exclusions)[0].count, 4);
  ASSERT_TRUE(store->replace_findings({}, {}));
  EXPECT_TRUE(store->findings()->empty());
  EXPECT_TRUE(store->exclusions()->empty());
}

TEST(Store, SeriesGivesEverySampledIterationAndNoOther) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  const std::vector<double> values = {5, 5, 7, 7, 7, 5};
  for (std::size_t i = 0; i < values.size(); ++i) {
    record::Observation o;
    o.iteration = static_cast<std::int64_t>(i);
    o.status = record::IterationStatus::completed;
    if (i != 3) o.samples.push_back({"harness", 1, "threads", values[i]});
    o.samples.push_back({"host", 0, "file_nr", 1});
    ASSERT_TRUE(store->finish(o, Verdict::pass));
  }
  const auto points = store->series("harness", "threads");
  ASSERT_TRUE(points);
  std::vector<std::pair<std::int64_t, double>> got;
  for (const auto& point : *points) got.emplace_back(point.iteration, point.value);
  EXPECT_EQ(got, (std::vector<std::pair<std::int64_t, double>>{{0, 5}, {1, 5}, {2, 7}, {4, 7}, {5, 5}}));
  EXPECT_TRUE(store->series("harness", "nothing")->empty());
  EXPECT_EQ(*store->series_names(), (std::vector<Store::SeriesName>{{"harness", "threads"}, {"host", "file_nr"}}));
}

TEST(Store, ReaderMayNotWrite) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  created(path).reset();
  const auto store = opened(path);
  EXPECT_FALSE(store->begin(synthetic::Run().begun()));
  EXPECT_FALSE(store->end_run(Verdict::pass, "finished"));
}

TEST(Store, VisitorsErrorStopsTheWalkAndMayCallTheStore) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  synthetic::Run run;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store->finish(run.next(), Verdict::pass));
  int seen = 0;
  const auto walked = store->for_each_observation([&](const record::Observation& o) -> base::Result<void> {
    EXPECT_TRUE(store->observation(o.iteration));
    if (++seen == 3) return base::fail(base::ErrorKind::interrupted, "enough");
    return {};
  });
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(walked.error().kind, base::ErrorKind::interrupted);
  EXPECT_EQ(store->observation(77).error().kind, base::ErrorKind::bad_input);
}

TEST(Store, EventsOfOneKindAndTheOperationsOfAPlan) {
  const scratch::Directory directory;
  const auto store = created(directory.file("results.db"));
  for (int i = 0; i < 3; ++i) {
    record::Observation o;
    o.iteration = i;
    o.plan = {i, "a", "b", "precopy", "unix"};
    if (i == 1) {
      o.plan.machine = "q35";
      o.plan.operations.resize(2);
    }
    o.status = record::IterationStatus::completed;
    o.events = {{"hotplug", "guest", 0, "hotplug", 1.5, "plug", {{"kind", "cpu"}}},
                {"log-line", "qemu:a", 7, "spawn", 2, "noise", base::Json::object()}};
    ASSERT_TRUE(store->begin(o));
    if (i < 2) {
      ASSERT_TRUE(store->finish(o, Verdict::pass));
    }
  }
  std::vector<std::int64_t> iterations;
  ASSERT_TRUE(store->for_each_event("hotplug", [&](std::int64_t iteration, const record::Event& event) {
    iterations.push_back(iteration);
    EXPECT_EQ(event.kind, "hotplug");
    EXPECT_EQ(event.subject, "guest");
    EXPECT_EQ(event.phase, "hotplug");
    EXPECT_EQ(event.at_ms, 1.5);
    EXPECT_EQ(event.text, "plug");
    EXPECT_EQ(event.detail, base::Json({{"kind", "cpu"}}));
    return base::Result<void>();
  }));
  EXPECT_EQ(iterations, (std::vector<std::int64_t>{0, 1}));
  const auto stopped = store->for_each_event("hotplug", [&](std::int64_t, const record::Event&) -> base::Result<void> {
    return base::fail(base::ErrorKind::subject, "enough");
  });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().message, "enough");
  const auto rows = store->iterations();
  ASSERT_TRUE(rows);
  EXPECT_EQ((*rows)[0].machine, "");
  EXPECT_EQ((*rows)[0].operations, 0);
  EXPECT_EQ((*rows)[1].machine, "q35");
  EXPECT_EQ((*rows)[1].operations, 2);
}

TEST(Store, LanesWriteFromTheirOwnThreads) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  constexpr int kLanes = 4, kEach = 40;
  std::vector<std::vector<record::Observation>> given(kLanes);
  {
    const auto store = created(path);
    std::vector<std::thread> lanes;
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes.emplace_back([&, lane] {
        synthetic::Run run(static_cast<std::uint64_t>(lane));
        for (int i = 0; i < kEach; ++i) {
          record::Observation o = run.next(lane);
          synthetic::give_to_lane(o, lane, i * kLanes + lane);
          EXPECT_TRUE(store->begin(o));
          EXPECT_TRUE(store->finish(o, Verdict::pass));
          EXPECT_TRUE(store->summary());
          given[static_cast<std::size_t>(lane)].push_back(std::move(o));
        }
      });
    }
    for (std::thread& lane : lanes) lane.join();
  }
  const auto store = opened(path);
  std::int64_t next = 0;
  ASSERT_TRUE(store->for_each_observation([&](const record::Observation& o) -> base::Result<void> {
    EXPECT_EQ(o.iteration, next++);
    record::expect_equal(
        given[static_cast<std::size_t>(o.iteration % kLanes)][static_cast<std::size_t>(o.iteration / kLanes)], o);
    return {};
  }));
  EXPECT_EQ(next, kLanes * kEach);
}

TEST(Store, DocumentsThatStayTheSameCostAReference) {
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  constexpr int kIterations = 400;
  {
    const auto store = created(path);
    synthetic::Run run;
    for (int i = 0; i < kIterations; ++i) ASSERT_TRUE(store->finish(run.next(), Verdict::pass));
  }
  SQLite::Database db(path);
  EXPECT_EQ(db.execAndGet("SELECT count(*) FROM document_list").getInt(), kIterations);
  EXPECT_EQ(db.execAndGet("SELECT count(*) FROM document_set").getInt(), 2) << "one for each direction";
  EXPECT_EQ(db.execAndGet("SELECT count(*) FROM document").getInt(), 6 * kIterations);
  const double bytes = db.execAndGet("SELECT sum(length(processes) + 12) FROM document_list").getInt();
  EXPECT_LT(bytes / kIterations, 64);
}

}  // namespace
}  // namespace migsoak::store
