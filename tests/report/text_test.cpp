#include <gmock/gmock.h>

#include <iostream>
#include <tuple>

#include "base/text.h"
#include "report/campaign.h"
#include "report/figures.h"
#include "report/report.h"

namespace migsoak::report {
namespace {

using testing::HasSubstr;
using testing::Not;

std::size_t lines_of(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(ReportText, SaysVerdictCourseEvidenceAndReplayOnOneScreen) {
  Campaign campaign("my results.db");
  ASSERT_TRUE(campaign.store->replace_findings(
      {leak()}, {{"vu-panic-eventfd", "log-signature", "seen on clean daemons, no harm", 3}}));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::fail, "finished"));
  const auto page = text(*campaign.store, 100, false);
  ASSERT_TRUE(page) << page.error().describe();
  std::cout << *page;
  EXPECT_THAT(*page, testing::StartsWith("FAIL  synthetic"));
  EXPECT_THAT(*page, HasSubstr("30 of 30 iterations (30 completed), 1 lineage\n"));
  EXPECT_THAT(*page, HasSubstr("FAIL  fd-leak  target:disk0  eventfd  (blame: subject)"));
  EXPECT_THAT(*page, HasSubstr("since iteration 0 · proven at 9 · 4 per iteration · exhausted at about iteration 143"));
  EXPECT_THAT(*page, HasSubstr("how sure: exact: +4 in each of 10"));
  EXPECT_THAT(*page, HasSubstr("evidence: base=7, limit=1024\n"));
  EXPECT_THAT(*page, Not(HasSubstr("known: ")));
  EXPECT_THAT(*page, HasSubstr("▁▁▁▂"));
  EXPECT_THAT(*page, HasSubstr(" 11 → 127 fd.eventfd"));
  EXPECT_THAT(*page, HasSubstr("replay: migsoak replay '" + campaign.store->path() + "' --iteration 9\n"));
  EXPECT_THAT(*page, HasSubstr("guest RAM 960.0 MiB and disks "));
  EXPECT_THAT(*page, HasSubstr("in 30 iterations"));
  EXPECT_THAT(*page, HasSubstr("iterations per hour"));
  EXPECT_THAT(*page, HasSubstr("downtime     precopy: the guest's clients see p50 "));
  EXPECT_THAT(*page, HasSubstr("QEMU says p50 "));
  EXPECT_THAT(*page, HasSubstr("3× vu-panic-eventfd (log-signature): seen on clean daemons"));
  EXPECT_THAT(*page, HasSubstr("accelerator=tcg"));
  EXPECT_THAT(*page, Not(HasSubstr("\033")));
  EXPECT_LE(lines_of(*page), 24u);
}

TEST(ReportText, ADefectOfTheBuildIsALineOfItsOwn) {
  Campaign campaign;
  record::Finding finding = leak();
  finding.evidence["known"] = {
      {"defect", "d"}, {"sides", {{"a", "7.2"}}}, {"text", "known: QEMU of old; use a new one"}};
  ASSERT_TRUE(campaign.store->replace_findings({finding}, {}));
  const auto page = text(*campaign.store, 100, false);
  const auto list = findings_text(*campaign.store);
  const auto xml = junit_text(*campaign.store);
  ASSERT_TRUE(page && list && xml);
  for (const std::string& told : {*page, *list}) {
    EXPECT_THAT(told, HasSubstr("\n  known: QEMU of old; use a new one\n"));
    EXPECT_THAT(told, Not(HasSubstr("known=")));
  }
  EXPECT_THAT(*xml, HasSubstr("\nknown: QEMU of old; use a new one\n"));
}

TEST(ReportText, NoLineIsWiderThanTheTerminalExceptWhatIsPasted) {
  Campaign campaign;
  record::Finding finding = leak();
  finding.title = std::string(900, 'x') + " " + std::string(300, 'y');
  ASSERT_TRUE(campaign.store->replace_findings({finding}, {{"n", "d", std::string(700, 'z'), 1}}));
  for (const int width : {40, 60, 80, 132}) {
    const auto page = text(*campaign.store, width, false);
    ASSERT_TRUE(page);
    for (const std::string& line : base::split(*page, '\n')) {
      if (line.starts_with("  replay: ")) continue;
      EXPECT_LE(columns_of(line), static_cast<std::size_t>(width)) << line;
    }
  }
}

TEST(ReportText, ColourOnlyWhenTold) {
  Campaign campaign;
  const auto page = text(*campaign.store, 80, true);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, HasSubstr("\033[1;33mUNKNOWN\033[0m"));
}

TEST(ReportText, KilledRunIsUnknownOrFailNeverPass) {
  Campaign campaign("results.db", 5, 0);
  record::Observation begun;
  begun.iteration = 5;
  ASSERT_TRUE(campaign.store->begin(begun));
  auto page = text(*campaign.store, 80, false);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, testing::StartsWith("UNKNOWN"));
  EXPECT_THAT(*page, HasSubstr("5 of 5 iterations (5 completed), 1 lineage, 1 interrupted"));
  EXPECT_THAT(*page,
              HasSubstr("Nothing found, but the run has no end on record: it is still going on, or was\n  killed.\n"));
  ASSERT_TRUE(campaign.store->replace_findings({leak()}, {}));
  page = text(*campaign.store, 80, false);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, testing::StartsWith("FAIL"));
}

TEST(ReportText, HostileStringsReachNoTerminal) {
  Campaign campaign;
  record::Finding finding = leak();
  finding.title =
      "evil \033[2J\033]0;owned\a \xc2\x9b"
      "31m \xff title";
  finding.process = "target:\033c";
  finding.kind = "k\nFAIL";
  finding.evidence = {{"confidence", "\033[31m"}, {"li\033ne", "\r\n\033[A"}};
  ASSERT_TRUE(campaign.store->replace_findings({finding}, {{"n\033", "d\a", "r\033[0m", 1}}));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::fail, "stopped: \033[2J"));
  const auto page = text(*campaign.store, 80, false);
  const auto listed = findings_text(*campaign.store);
  ASSERT_TRUE(page);
  ASSERT_TRUE(listed);
  for (const std::string& out : {*page, *listed}) {
    for (const char c : out) {
      EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 || c == '\n') << static_cast<int>(c);
      EXPECT_NE(c, '\x7f');
    }
    EXPECT_THAT(out, Not(HasSubstr("\xc2\x9b")));
  }
  EXPECT_THAT(*page, HasSubstr("\\x1b[2J"));
}

TEST(ReportText, ManyFindingsAreCounted) {
  Campaign campaign;
  std::vector<record::Finding> findings(40, leak());
  std::vector<record::Exclusion> exclusions(10, {"name", "log-signature", "reason", 2});
  ASSERT_TRUE(campaign.store->replace_findings(findings, exclusions));
  const auto page = text(*campaign.store, 100, false);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, HasSubstr("and 35 more: migsoak findings "));
  EXPECT_THAT(*page, HasSubstr("and 6 more kinds, 12 times in all"));
  EXPECT_LE(lines_of(*page), 60u);
}

TEST(ReportText, EmptyDatabase) {
  Campaign campaign("results.db", 0);
  const auto page = text(*campaign.store, 80, false);
  ASSERT_TRUE(page) << page.error().describe();
  EXPECT_THAT(*page, HasSubstr("0 of 0 iterations"));
}

TEST(ReportText, CleanRunSaysSo) {
  Campaign campaign("results.db", 3, 0);
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::pass, "finished"));
  const auto page = text(*campaign.store, 80, false);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, testing::StartsWith("PASS"));
  EXPECT_THAT(*page, HasSubstr("  No findings.\n"));
  EXPECT_THAT(*page, Not(HasSubstr("hotplug")));
  EXPECT_THAT(*page, Not(HasSubstr("matrix")));
}

TEST(ReportText, UnknownNamesTheReason) {
  Campaign campaign("results.db", 2, 0);
  synthetic::Run run;
  (void)run.next();
  (void)run.next();
  record::Observation broken = run.begun();
  ASSERT_TRUE(campaign.store->begin(broken));
  broken.status = record::IterationStatus::unknown;
  broken.phase = "spawn";
  broken.events.push_back({record::event_kind::kHarnessError, "harness", 0, "spawn", 3, "no space left", {}});
  broken.events.back().detail = base::Json::object();
  ASSERT_TRUE(campaign.store->finish(broken, record::Verdict::unknown));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::unknown, "finished"));
  const char* const why = "but the harness or its environment failed once, first in iteration 2: no space left";
  EXPECT_THAT(*text(*campaign.store, 120, false), HasSubstr(std::string("Nothing found, ") + why));
  EXPECT_THAT(*findings_text(*campaign.store), HasSubstr(std::string("3 iterations, nothing found, ") + why));
  ASSERT_TRUE(campaign.store->end_run(record::Verdict::unknown, "harness: fork failed"));
  EXPECT_THAT(*text(*campaign.store, 120, false),
              HasSubstr("Nothing found, but the harness or its environment failed: fork failed."));
}

// Two of 200 iterations say nothing of the others, whatever ended the run.
TEST(ReportText, WhatEndedBeforeItsPlanDidIsUnknown) {
  const auto ended = [](const std::string& reason, record::Verdict stored) {
    scratch::Directory directory;
    auto store = store::Store::create(directory.file("short.db"), synthetic::manifest(200));
    EXPECT_TRUE(store);
    synthetic::Run run;
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE((*store)->begin(run.begun()));
      EXPECT_TRUE((*store)->finish(run.next(), record::Verdict::pass));
    }
    EXPECT_TRUE(reason.empty() || (*store)->end_run(stored, reason));
    const auto json = findings_json(**store);
    EXPECT_TRUE(json);
    return std::tuple{*text(**store, 120, false), *findings_text(**store), *json};
  };
  // As older versions wrote them, too.
  for (const record::Verdict stored : {record::Verdict::pass, record::Verdict::unknown}) {
    for (const auto& [reason, told] : std::vector<std::pair<std::string, std::string>>{
             {"", "has no end on record"},
             {"interrupted", "was interrupted"},
             {"stopped: 20 migrations in a row failed", "was stopped: 20 migrations in a row failed"},
             {"harness: database or disk is full", "the harness or its environment failed"}}) {
      SCOPED_TRACE(reason);
      const auto [page, listed, json] = ended(reason, stored);
      EXPECT_THAT(page, testing::StartsWith("UNKNOWN"));
      EXPECT_THAT(page, HasSubstr("2 of 200 iterations (2 completed)"));
      EXPECT_THAT(page, HasSubstr("Nothing found in 2 of 200 iterations, but the "));
      EXPECT_THAT(page, HasSubstr(told));
      EXPECT_THAT(page, Not(HasSubstr("No findings.")));
      EXPECT_THAT(listed, testing::StartsWith("unknown"));
      EXPECT_THAT(listed, HasSubstr("nothing found in 2 of 200 iterations, but the "));
      EXPECT_EQ(json["verdict"], "unknown");
      EXPECT_EQ(json["iterations"], 2);
      EXPECT_EQ(json["iterations_planned"], 200);
      EXPECT_EQ(json["ended"], reason);
    }
  }
  const auto [page, listed, json] = ended("stopped: the time given by --duration is over", record::Verdict::pass);
  EXPECT_THAT(page, testing::StartsWith("PASS"));
  EXPECT_THAT(page, HasSubstr("ended: stopped: the time given by --duration is over"));
  EXPECT_THAT(listed, HasSubstr("nothing found in 2 of 200 iterations; the time given by --duration was over"));
  EXPECT_EQ(json["verdict"], "pass");
}

// As the scenario has it (run.failures_max): the run came to its end.
TEST(ReportText, WhatWasLeftOutIsCounted) {
  scratch::Directory directory;
  auto store = store::Store::create(directory.file("left.db"), synthetic::manifest(20));
  ASSERT_TRUE(store);
  record::Observation last;
  last.status = record::IterationStatus::failed;
  last.plan = {0, "a", "b", "precopy", "unix"};
  last.events.push_back({record::event_kind::kLineageGivenUp, "guest", 0, "quiet", 1, "given up", {{"left_out", 19}}});
  ASSERT_TRUE((*store)->begin(last));
  ASSERT_TRUE((*store)->finish(last, record::Verdict::pass));
  ASSERT_TRUE((*store)->end_run(record::Verdict::pass, "finished"));
  const auto page = text(**store, 120, false);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, testing::StartsWith("PASS"));
  EXPECT_THAT(*page,
              HasSubstr("1 of 20 iterations (1 failed), 1 lineage, 19 left out with lineages that were given up"));
}

TEST(ReportText, DowntimeByMode) {
  scratch::Directory directory;
  auto store = store::Store::create(directory.file("modes.db"), synthetic::manifest(9));
  ASSERT_TRUE(store);
  for (int i = 0; i < 9; ++i) {
    record::Observation o;
    o.iteration = i;
    o.status = record::IterationStatus::completed;
    o.plan = {i, "a", "b", i < 6 ? "precopy" : "postcopy", "unix"};
    o.samples = {{"guest", 0, "heartbeat_gap_ms", i < 6 ? 10.0 + i : 700.0}, {"migration", 0, "downtime_ms", 3.0}};
    o.duration_ms = 10;
    ASSERT_TRUE((*store)->begin(o));
    ASSERT_TRUE((*store)->finish(o, record::Verdict::pass));
  }
  const auto page = text(**store, 120, false);
  ASSERT_TRUE(page);
  EXPECT_THAT(*page, HasSubstr("downtime     precopy: the guest's clients see p50 12, p95 15, max 15 ms; QEMU says p50 "
                               "3, p95 3, max 3 ms; clients:\n             █▁█▁▁█▁█▁█▁█\n"
                               "             postcopy: the guest's clients see p50 700, p95 700, max 700 ms;"));
}

// Mode i of `modes` brings QEMU to the next image; cpr-exec keeps the pid.
std::string page_of_upgrades(const std::vector<std::string>& modes, int lineages = 1) {
  scratch::Directory directory;
  auto store = store::Store::create(directory.file("hot.db"), synthetic::manifest(static_cast<int>(modes.size())));
  EXPECT_TRUE(store);
  record::ProcessInstance qemu{1, "qemu:a", 500, 7, 0, "qemu-system-x86_64", 0, 1024};
  for (std::size_t i = 0; i < modes.size(); ++i) {
    record::Observation o;
    o.iteration = static_cast<std::int64_t>(i);
    o.lineage = static_cast<int>(i * static_cast<std::size_t>(lineages) / modes.size());
    o.status = record::IterationStatus::completed;
    o.plan = {o.iteration, "a", "a", modes[i], "unix"};
    o.duration_ms = 10;
    if (i == 0) o.processes_born.push_back(qemu);
    ++qemu.id;
    if (modes[i] == "cpr-exec") {
      ++qemu.generation;
    } else {
      qemu.generation = 0;
      ++qemu.pid;
    }
    o.processes_born.push_back(qemu);
    EXPECT_TRUE((*store)->begin(o));
    EXPECT_TRUE((*store)->finish(o, record::Verdict::pass));
  }
  const auto page = text(**store, 160, false);
  EXPECT_TRUE(page);
  return page ? *page : "";
}

TEST(ReportText, UpgradesAndWhatBecameOfTheProcesses) {
  EXPECT_THAT(
      page_of_upgrades(std::vector<std::string>(40, "cpr-exec")),
      HasSubstr("upgrades     40 of one guest (cpr-exec 40): 1 QEMU process, 40 exec generations of one pid\n"));
  EXPECT_THAT(page_of_upgrades(std::vector<std::string>(40, "cpr-transfer")),
              HasSubstr("upgrades     40 of one guest (cpr-transfer 40): 41 QEMU processes\n"));
  EXPECT_THAT(
      page_of_upgrades({"precopy", "cpr-exec", "cpr-exec", "cpr-reboot", "cpr-exec", "local"}),
      HasSubstr("upgrades     4 of one guest (cpr-exec 3, cpr-reboot 1) and 2 other migrations: 4 QEMU processes, "
                "up to 2 exec generations of one pid\n"));
  EXPECT_THAT(page_of_upgrades({"cpr-reboot", "cpr-reboot", "cpr-reboot", "cpr-reboot"}, 2),
              HasSubstr("upgrades     4 of 2 guests, up to 2 of one (cpr-reboot 4): 5 QEMU processes\n"));
  EXPECT_THAT(page_of_upgrades({"precopy", "local"}), Not(HasSubstr("upgrades")));
}

TEST(Evidence, WhatExplainsMostStandsFirstAndTheTitleIsNotRepeated) {
  record::Finding finding;
  finding.detector = "config-space-drift";
  finding.title = "vb2 (virtio-blk at 0000:00:05.0), old to new: BAR0 I/O: 0x40 bytes at 0x1040";
  const std::string line = "get_pci_config_device: Bad config data: i=0x10 read: 41 device: 1 cmask: ff wmask: 80";
  finding.evidence = {{"address", "0000:00:05.0"},
                      {"confidence", "exact"},
                      {"decoded", "BAR0 I/O: 0x40 bytes at 0x1040"},
                      {"device", "vb"},
                      {"from", "old"},
                      {"from_qemu", "7.2.22"},
                      {"lines", {line}},
                      {"masks", {{"cmask", 255}, {"wmask", 128}}},
                      {"offset", 16},
                      {"another", 1},
                      {"windows", base::Json(std::vector<int>(100, 7))}};
  EXPECT_EQ(evidence_of(finding, Evidence::brief),
            "device=vb, offset=16, from_qemu=7.2.22, masks=(cmask=255, wmask=128), another=1");
  const std::string full = evidence_of(finding, Evidence::full);
  EXPECT_THAT(full, testing::StartsWith("decoded=BAR0 I/O: 0x40 bytes at 0x1040, device=vb, address=0000:00:05.0, "));
  EXPECT_THAT(full, HasSubstr("Bad config data"));
  EXPECT_THAT(full, Not(HasSubstr("exact")));
  // Part of another word is not what the title says.
  finding.evidence = {{"device", "virtio"}, {"field", "BAR"}};
  EXPECT_EQ(evidence_of(finding, Evidence::brief), "field=BAR");
  // Of what is too long for a line, the short members.
  finding.evidence = {{"detail", {{"signal", 11}, {"last_lines", std::string(500, 'x')}, {"core_dumped", true}}}};
  EXPECT_EQ(evidence_of(finding, Evidence::brief), "detail=(core_dumped=true, signal=11)");
  finding.evidence = base::Json::array({1});
  EXPECT_EQ(evidence_of(finding, Evidence::brief), "[1]");
}

TEST(Figures, Percentile) {
  using testing::ElementsAre;
  EXPECT_THAT(percentiles({}, {50, 95}), ElementsAre(0, 0));
  EXPECT_THAT(percentiles({7}, {50, 95, 100}), ElementsAre(7, 7, 7));
  EXPECT_THAT(percentiles({4, 1, 3, 2}, {50, 95}), ElementsAre(2, 4));
  EXPECT_THAT(percentiles({4, std::nan(""), 3, 2}, {100}), ElementsAre(4));
  EXPECT_THAT(percentiles({9, 1, 8, 2, 7, 3, 6, 4, 5, 10}, {10, 50, 90, 100}), ElementsAre(1, 5, 9, 10));
}

TEST(Figures, Sparkline) {
  EXPECT_EQ(histogram_text(histogram_counts({}, 4)), "");
  EXPECT_EQ(histogram_text(histogram_counts({5, 5, std::nan("")}, 4)), "") << "nothing is spread";
  EXPECT_EQ(histogram_text(histogram_counts({1, 1, 1, 1, 1, 1, 1, 10, 100, 1000}, 3)), "█▂▃");
  EXPECT_EQ(sparkline({}, 10), "");
  EXPECT_EQ(sparkline({std::nan("")}, 10), "");
  EXPECT_EQ(sparkline({5, 5, 5}, 10), "▁▁▁");
  EXPECT_EQ(sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 10), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(sparkline({0, 0, 7, 7}, 2), "▁█");
  EXPECT_EQ(sparkline({7, std::nan(""), 0}, 4), "█▁");
}

TEST(Figures, Words) {
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(32.0 * 1024 * 1024), "32.0 MiB");
  EXPECT_EQ(number_text(4.0), "4");
  EXPECT_EQ(number_text(0.02), "0.02");
  EXPECT_EQ(number_text(1234.5), "1234");
  EXPECT_EQ(columns_of("a→b"), 3u);
  EXPECT_EQ(wrap("aaa bbb ccc ddd eee fff ggg", 22, 2, 9), "aaa bbb ccc ddd eee\n  fff ggg");
  EXPECT_EQ(wrap("aaa bbb ccc ddd eee fff ggg", 23, 2, 1), "aaa bbb ccc ddd eee …");
}

}  // namespace
}  // namespace migsoak::report
