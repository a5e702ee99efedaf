#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <iostream>

#include "fixture.h"
#include "probes/state.h"

namespace migsoak::probes {
namespace {

namespace kind = record::event_kind;

TEST(Probes, names_are_unique_and_described) {
  std::set<std::string> names;
  for (const Probe& probe : probes()) {
    EXPECT_TRUE(names.insert(probe.name).second) << probe.name;
    EXPECT_FALSE(probe.summary.empty());
  }
  EXPECT_EQ(names, (std::set<std::string>{"fds", "threads", "memory", "children", "files", "host"}));
}

TEST_F(ProbesTest, threads_and_memory_follow_the_process) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 1, target->pid());
  const auto before = look({subject});
  EXPECT_EQ(sample(before, "target:disk0", "threads"), 1);
  target->tell("thread");
  target->tell("thread");
  target->tell("memory 8");
  const auto after = look({subject});
  EXPECT_EQ(sample(after, "target:disk0", "threads"), 3);
  EXPECT_GE(sample(after, "target:disk0", "rss_bytes") - sample(before, "target:disk0", "rss_bytes"), 8 << 20);
  EXPECT_GE(sample(after, "target:disk0", "anon_bytes") - sample(before, "target:disk0", "anon_bytes"), 8 << 20);
  // Of a page that n processes map each has an nth, so the share in a library shrinks while others start that use it,
  // and two readings do not compare. What is the process's own counts in full, and no page counts twice: that holds of
  // each.
  for (const auto& reading : {before, after}) {
    EXPECT_GT(sample(reading, "target:disk0", "pss_bytes"), sample(reading, "target:disk0", "anon_bytes"));
    EXPECT_LE(sample(reading, "target:disk0", "pss_bytes"), sample(reading, "target:disk0", "rss_bytes"));
  }
  EXPECT_GT(sample(after, "target:disk0", "mappings"), sample(before, "target:disk0", "mappings"));
  EXPECT_TRUE(has_sample(after, "target:disk0", "heap_bytes"));
  EXPECT_GT(sample(after, "host", "file_nr"), 0);
}

TEST_F(ProbesTest, a_subject_that_is_gone_is_unsettled_and_never_half_a_sample) {
  auto target = make_fixture("target:disk0");
  const auto qemu = make_fixture("qemu:a");
  const Subject gone = subject_of("target:disk0", 1, target->pid());
  target.reset();
  const auto observation = look({gone, subject_of("qemu:a", 2, qemu->pid())});
  const auto found = events(observation, kind::kUnsettled);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "target:disk0");
  for (const record::Sample& one : observation.samples) EXPECT_NE(one.subject, "target:disk0") << one.metric;
  EXPECT_TRUE(has_sample(observation, "qemu:a", "fd.total"));
  EXPECT_TRUE(events(observation, kind::kHarnessError).empty());
}

// Dead and not yet waited for: its /proc entry is still there, and empty.
TEST_F(ProbesTest, a_dead_subject_has_not_closed_its_descriptors) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 1, target->pid());
  look({subject});
  ASSERT_EQ(::kill(target->pid(), SIGKILL), 0);
  ASSERT_TRUE(wait_until([&] {
    const auto stat = proc::read_stat(target->pid());
    return !stat || stat->state == 'Z';
  }));
  const auto observation = look({subject});
  EXPECT_EQ(events(observation, kind::kUnsettled).size(), 1u);
  EXPECT_TRUE(observation.deaths.empty());
  EXPECT_FALSE(has_sample(observation, "target:disk0", "fd.total"));
}

// /proc that may not be read, a format that changed: the process is there, and nothing is known of it.
TEST_F(ProbesTest, what_lives_and_was_not_read_is_told_as_such) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 1, target->pid());
  look({subject});
  state_.impl().vanished.clear();
  record::Observation observation;
  note_vanished(scene_of({subject}), state_, subject, "Permission denied", observation);
  EXPECT_TRUE(events(observation, kind::kUnsettled).empty());
  const auto found = events(observation, kind::kReadFailed);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "target:disk0");
  EXPECT_EQ(found[0].process_id, 1);
  EXPECT_EQ(found[0].detail["read"], "samples");
  EXPECT_EQ(found[0].detail["why"], "Permission denied");
  EXPECT_TRUE(has_vanished(state_, subject)) << "what was read of it is half a sample";
}

TEST_F(ProbesTest, a_run_directory_that_cannot_be_listed_holds_no_answer) {
  Scene scene = scene_of({});
  scene.run_dir = "/proc/self/oom_score_adj";
  record::Observation observation;
  run_probes(scene, state_, observation);
  const auto found = events(observation, kind::kReadFailed);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].detail["read"], "samples");
}

TEST_F(ProbesTest, events_carry_phase_and_time) {
  Scene scene = scene_of({});
  scene.phase = "teardown";
  scene.since_iteration_start_ms = 12.5;
  scene.run_dir = run_dir_->path();
  scene.expected_files.clear();
  scene.subjects = {subject_of("qemu:a", 1, 1 << 22)};  // beyond pid_max
  record::Observation observation;
  run_probes(scene, state_, observation);
  const auto found = events(observation, kind::kUnsettled);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].phase, "teardown");
  EXPECT_EQ(found[0].at_ms, 12.5);
}

TEST_F(ProbesTest, the_signature_changes_with_descriptors_and_children_only) {
  const auto target = make_fixture("target:disk0");
  const std::vector<Subject> subjects{subject_of("harness", 1, ::getpid()),
                                      subject_of("target:disk0", 2, target->pid())};
  const auto signature = [&] { return settle_signature(scene_of(subjects)); };
  const auto at_rest = signature();
  EXPECT_EQ(signature(), at_rest);
  target->tell("thread");
  target->tell("memory 1");
  EXPECT_EQ(signature(), at_rest);
  const long fd = target->tell("eventfd");
  const auto one_more = signature();
  EXPECT_NE(one_more, at_rest);
  target->tell(fmt::format("close {}", fd));
  EXPECT_EQ(signature(), at_rest);
  target->tell("child");
  EXPECT_NE(signature(), at_rest);
}

}  // namespace
}  // namespace migsoak::probes
