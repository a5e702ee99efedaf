// The command line's other half: what is read from a record, and the switches of a run.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "record/known_defects.h"
#include "run_migsoak.h"
#include "scenario/scenario.h"
#include "store/store.h"

namespace migsoak::integration {

namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kScenario = R"(name = "commands"
summary = "For the tests of the command line"
iterations = 10
[guest]
workload = "idle"
)";

class Commands : public MigsoakTest {
 protected:
  std::string scenario() const { return write("s.toml", kScenario + two_sides() + served_disk()); }
  base::Json json(const std::vector<std::string>& arguments) const {
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 0) << describe(outcome);
    base::Json parsed = base::Json::parse(outcome.out, nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << describe(outcome);
    return parsed;
  }
};

TEST_F(Commands, DoctorAndLists) {
  const base::Json doctor = json({"doctor", "--json"});
  EXPECT_TRUE(doctor["good"].get<bool>()) << doctor.dump(2);
  EXPECT_GE(doctor["checks"].size(), 5U);
  const Outcome told = migsoak({"doctor"});
  EXPECT_EQ(told.status, 0);
  // The system's QEMU, with what is known of its version; good all the same.
  for (const base::Json& check : doctor["checks"]) {
    ASSERT_TRUE(check.contains("known")) << check;
    if (check["check"] != "qemu-system-x86_64") continue;
    const std::string found = check["found"].get<std::string>();
    const bool lossy = found.find("version 7.2") != std::string::npos;
    EXPECT_EQ(check["known"].get<std::string>().find("03bfc2188f06") != std::string::npos, lossy) << check;
    if (lossy) {
      EXPECT_THAT(told.out, HasSubstr("\n" + std::string(30, ' ') + "known: QEMU 2.0 up to"));
    }
  }
  const std::vector<std::pair<std::string, std::string>> lists = {
      {"probes", "fds"},       {"modes", "precopy"},   {"transports", "unix"},           {"devices", "vhost-user-blk"},
      {"detectors", "zombie"}, {"targets", "command"}, {"scenarios", "quickstart.toml"}, {"hotplug", "virtio-blk"}};
  for (const auto& [what, member] : lists) {
    SCOPED_TRACE(what);
    const base::Json rows = json({"list", what, "--json"});
    EXPECT_TRUE(std::any_of(rows.begin(), rows.end(), [&name = member](const base::Json& row) {
      return row.value("name", "").ends_with(name);
    })) << rows.dump(2);
    EXPECT_THAT(migsoak({"list", what}).out, HasSubstr(member));
  }
  EXPECT_TRUE(json({"list", "faults", "--json"}).is_array());
}

TEST_F(Commands, PlansDependOnScenarioSeedAndNumberAlone) {
  const std::string file = scenario();
  const base::Json plan = json({"plan", file, "--iteration", "3", "--json"});
  EXPECT_EQ(plan.value("iteration", 0), 3);
  EXPECT_EQ(plan.value("mode", ""), "precopy");
  EXPECT_EQ(plan, json({"plan", file, "--iteration", "3", "--json", "--seed", "1"}));
  EXPECT_EQ(json({"plan", file, "--iteration", "7", "--json", "--seed", "2", "--set", "migration.route=random"}),
            json({"plan", file, "--iteration", "7", "--json", "--seed", "2", "--set", "migration.route=random"}));
  EXPECT_THAT(migsoak({"plan", file, "--iteration", "3"}).out, HasSubstr("iteration 3"));
  const Outcome dry = migsoak({"run", file, "--dry-run", "--db", path("never.db")});
  EXPECT_EQ(dry.status, 0) << describe(dry);
  EXPECT_THAT(dry.out, AllOf(HasSubstr("commands"), HasSubstr("# first plans"), HasSubstr("\"iteration\":0")));
  EXPECT_FALSE(fs::exists(path("never.db")));
}

// Tags balanced, attributes quoted, no stray '<' or '&': what a parser would refuse first.
std::string xml_trouble(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < xml.size();) {
    if (xml[at] == '&') {
      const auto end = xml.find(';', at);
      if (end == std::string::npos || end - at > 8) return "a stray '&' at " + std::to_string(at);
    }
    const auto byte = static_cast<unsigned char>(xml[at]);
    if (byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\r') return "a control character";
    if (xml[at] != '<') {
      ++at;
      continue;
    }
    std::size_t end = at + 1;
    char quote = 0;
    for (; end < xml.size() && (quote != 0 || xml[end] != '>'); ++end) {
      if (xml[end] == '<') return "'<' inside a tag at " + std::to_string(end);
      if (quote != 0) {
        if (xml[end] == quote) quote = 0;
      } else if (xml[end] == '"' || xml[end] == '\'') {
        quote = xml[end];
      }
    }
    if (end >= xml.size()) return "a tag without an end";
    const std::string tag = xml.substr(at + 1, end - at - 1);
    at = end + 1;
    if (tag.starts_with("?") || tag.ends_with("/")) continue;
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1)) return "unexpected <" + tag + ">";
      open.pop_back();
    } else {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

std::set<std::string> fingerprints(const base::Json& findings) {
  std::set<std::string> all;
  for (const base::Json& finding : findings["findings"]) all.insert(finding.value("fingerprint", ""));
  return all;
}

TEST_F(Commands, ARecordIsReadJudgedReplayedAndResumed) {
  const std::string db = path("r.db");
  const std::vector<std::string> leak = {"--set", "target.disk0.env.LD_PRELOAD=" + fault("fd_leak_recvmsg"), "--set",
                                         "target.disk0.env.FAULT_KIND=eventfd"};
  std::vector<std::string> arguments = {"run", scenario(), "--db", db};
  arguments.insert(arguments.end(), leak.begin(), leak.end());
  const Outcome run = migsoak(arguments);
  EXPECT_EQ(run.status, 1) << describe(run);
  const base::Json live = findings(db);
  EXPECT_EQ(only(live, "fd-leak").value("kind", ""), "eventfd");

  EXPECT_THAT(migsoak({"findings", db}).out, HasSubstr("fd-leak target:disk0 eventfd"));
  EXPECT_THAT(migsoak({"report", db}).out, AllOf(HasSubstr("FAIL"), HasSubstr("10 of 10"), HasSubstr("replay:")));
  const Outcome junit = migsoak({"report", db, "--junit", path("junit.xml")});
  EXPECT_EQ(junit.status, 0) << describe(junit);
  const std::string xml = read(path("junit.xml"));
  EXPECT_THAT(xml, AllOf(HasSubstr("<testsuite"), HasSubstr("fd-leak"), HasSubstr("<failure")));
  EXPECT_EQ(xml_trouble(xml), "") << xml;
  for (const base::Json& detector : json({"list", "detectors", "--json"})) {  // those that found nothing have passed
    EXPECT_THAT(xml, HasSubstr(" classname=\"commands.detectors\" name=\"" + detector.value("name", "?") + "\""));
  }
  EXPECT_EQ(migsoak({"report", db, "--junit", path("no/such/dir.xml")}).status, 2);

  const Outcome judged = migsoak({"judge", db});
  EXPECT_EQ(judged.status, 1) << describe(judged);
  EXPECT_EQ(findings(db), live) << "today's detectors over the record say something else";

  const Outcome replayed = migsoak({"replay", db, "--iteration", "9", "--out", path("again.db")});
  EXPECT_EQ(replayed.status, 1) << describe(replayed);
  EXPECT_EQ(fingerprints(findings(path("again.db"))), fingerprints(live));
  EXPECT_EQ(findings(path("again.db")).value("iterations", 0), 10);
  EXPECT_EQ(migsoak({"replay", db, "--iteration", "10"}).status, 2) << "an iteration that never was";

  // What must not touch it.
  const Outcome again = migsoak(arguments);
  EXPECT_EQ(again.status, 2) << describe(again);
  EXPECT_THAT(again.err, AllOf(HasSubstr("exists already"), HasSubstr("--resume")));
  const Outcome other = migsoak({"run", scenario(), "--db", db, "--resume", "--seed", "5"});
  EXPECT_EQ(other.status, 2) << describe(other);
  EXPECT_THAT(other.err, HasSubstr("another scenario"));
  EXPECT_EQ(findings(db), live);

  arguments.insert(arguments.end(), {"--resume", "--iterations", "12"});
  const Outcome resumed = migsoak(arguments);
  EXPECT_EQ(resumed.status, 1) << describe(resumed);
  EXPECT_EQ(findings(db).value("iterations", 0), 12);
  EXPECT_EQ(only(findings(db), "fd-leak").value("first_iteration", -1),
            only(live, "fd-leak").value("first_iteration", -2));

  // Damage: the middle of the file overwritten, the end cut off.
  std::string bytes = read(db);
  ASSERT_GT(bytes.size(), 32768U);
  std::string holed = bytes;
  std::fill(holed.begin() + 4096, holed.end() - 4096, '\xa5');
  for (const auto& [name, content] :
       {std::pair<std::string, std::string>{"holed.db", holed}, {"cut.db", bytes.substr(0, 6000)}}) {
    SCOPED_TRACE(name);
    const std::string damaged = write(name, content);
    for (const std::vector<std::string>& command : {std::vector<std::string>{"findings", damaged},
                                                    {"report", damaged},
                                                    {"judge", damaged},
                                                    {"replay", damaged, "--iteration", "0"}}) {
      const Outcome outcome = migsoak(command);
      EXPECT_EQ(outcome.status, 2) << command.front() << describe(outcome);
      EXPECT_THAT(outcome.err, AllOf(HasSubstr(name), HasSubstr("damaged"))) << command.front();
    }
  }
}

// The shape of the machine keeps QEMU before 9.0 under TCG from losing pages, and the record says so.
TEST_F(Commands, GuestsAreShapedToAvoidWhatTheBuildIsKnownToLose) {
  const std::string wrapper = write("wrapper.sh", "#!/bin/sh\necho \"$@\" >>" + path("argv.log") + "\nexec \"$@\"\n");
  fs::permissions(wrapper, fs::perms::owner_all);
  for (const bool avoid : {true, false}) {
    SCOPED_TRACE(avoid);
    const std::string db = path(avoid ? "avoid.db" : "raw.db");
    const Outcome run = migsoak({"run", scenario(), "--db", db, "--iterations", "1", "--set", "guest.accel=tcg",
                                 "--set", "side.a.wrapper=" + wrapper, "--set", "side.b.wrapper=" + wrapper, "--set",
                                 std::string("guest.avoid_known_defects=") + (avoid ? "true" : "false")});
    ASSERT_EQ(run.status, 0) << describe(run);
    const std::string page = migsoak({"report", db}).out;
    const auto at = page.find("a: QEMU ");
    ASSERT_NE(at, std::string::npos) << page;
    const bool odd = avoid && record::has_defect(record::known_defects().front(), page.substr(at + 8, 12), "tcg");
    EXPECT_EQ(page.find("tcg-lost-dirty-page") != std::string::npos, odd) << page;
    const std::string argv = read(path("argv.log"));
    EXPECT_EQ(argv.find(" -m 131080K ") != std::string::npos, odd) << argv;
    EXPECT_EQ(argv.find(" -m 128M ") == std::string::npos, odd) << argv;
    fs::remove(path("argv.log"));
  }
}

TEST_F(Commands, LanesRunSideBySide) {
  const std::string db = path("r.db");
  const Outcome outcome = migsoak({"run", scenario(), "--db", db, "--lanes", "2", "--iterations", "6"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_EQ(findings(db).value("iterations", 0), 6);
  EXPECT_THAT(migsoak({"report", db}).out, AllOf(HasSubstr("2 lineages"), HasSubstr("6 of 6")));
}

TEST_F(Commands, DurationEndsARun) {
  const std::string db = path("r.db");
  const Outcome outcome = migsoak({"run", scenario(), "--db", db, "--duration", "3s", "--iterations", "100000"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("--duration"));
  EXPECT_GE(findings(db).value("iterations", 0), 1);
  EXPECT_EQ(findings(db).value("verdict", ""), "pass");
}

TEST_F(Commands, StopOnFindingEndsWithTheFirst) {
  const std::string db = path("r.db");
  const Outcome outcome =
      migsoak({"run", scenario(), "--db", db, "--stop-on-finding", "--set",
               "target.disk0.env.LD_PRELOAD=" + fault("zombie"), "--set", "target.disk0.env.FAULT_AT=3"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("--stop-on-finding"));
  const base::Json all = findings(db);
  EXPECT_EQ(only(all, "zombie").value("process", ""), "target:disk0");
  EXPECT_EQ(all.value("iterations", 0), only(all, "zombie").value("detected_iteration", -5) + 1);
}

// The finding is lane 0's or lane 1's; without it the other would go on for days.
TEST_F(Commands, StopOnFindingEndsAllLanes) {
  const std::string db = path("r.db");
  const Outcome outcome =
      migsoak({"run", scenario(), "--db", db, "--stop-on-finding", "--lanes", "2", "--iterations", "100000", "--set",
               "target.disk0.env.LD_PRELOAD=" + fault("zombie"), "--set", "target.disk0.env.FAULT_AT=3"});
  ASSERT_FALSE(outcome.timed_out) << describe(outcome);
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  EXPECT_THAT(outcome.err, HasSubstr("--stop-on-finding"));
}

// In a lineage's first iteration the boot counts, and the last words of a QEMU come after everything else.
TEST_F(Commands, TimesCountFromTheBeginningOfTheIteration) {
  const std::string db = path("r.db");
  const Outcome outcome = migsoak({"run", scenario(), "--db", db, "--iterations", "1", "--set",
                                   "side.a.wrapper=[\"/bin/sh\", \"-c\", \"\\\"$@\\\"; echo bye\", \"sh\"]"});
  const auto store = store::Store::open(db);
  ASSERT_TRUE(store) << describe(outcome);
  const auto observation = (*store)->observation(0);
  ASSERT_TRUE(observation) << describe(outcome);
  double booted_ms = -1, bye_ms = -1;
  for (const record::Event& event : observation->events) {
    if (event.kind == record::event_kind::kLineageStart) booted_ms = event.at_ms;
    if (event.kind == record::event_kind::kLogLine && event.text == "bye") bye_ms = event.at_ms;
  }
  EXPECT_GT(booted_ms, 0) << describe(outcome);
  EXPECT_GT(bye_ms, booted_ms) << describe(outcome);
  EXPECT_LT(bye_ms, observation->duration_ms);
}

// scenarios/README.md is the reference of scenario files: every key there, no other.
TEST(ScenarioReadme, ListsEveryKeyAndNoOther) {
  std::ifstream in(std::string(MIGSOAK_SOURCE_DIR) + "/scenarios/README.md");
  std::set<std::string> documented;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("| `")) continue;
    const std::string key = line.substr(3, line.find('`', 3) - 3);
    if (!key.ends_with(".toml") && key != "gate.<detector>") documented.insert(key);
  }
  std::set<std::string> known;
  for (const auto& [pattern, type] : scenario::scenario_keys()) {
    using scenario::KeyType;
    const bool section =
        (type == KeyType::table_list || type == KeyType::table) && pattern.find('.') == std::string::npos;
    // One line stands for all detectors' severities.
    const bool severity =
        pattern.starts_with("gate.") && type == KeyType::string && std::count(pattern.begin(), pattern.end(), '.') == 1;
    if (!section && !severity) known.insert(pattern);
  }
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace migsoak::integration
