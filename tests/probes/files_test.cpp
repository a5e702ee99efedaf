#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "fixture.h"

namespace migsoak::probes {
namespace {

namespace kind = record::event_kind;

class FilesTest : public ProbesTest {
 protected:
  std::string in_run_dir(const std::string& name) const { return run_dir_->path() + "/" + name; }
  static void write_file(const std::string& path) { std::ofstream(path) << "0123456789"; }
};

TEST_F(FilesTest, only_what_is_not_expected_is_left_over_and_once) {
  write_file(in_run_dir("qemu.log"));
  write_file(in_run_dir("stray"));
  expected_files_.insert(in_run_dir("qemu.log"));
  const auto found = events(look({}), kind::kLeftover);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].detail["path"], "stray");
  EXPECT_EQ(found[0].detail["type"], "file");
  EXPECT_EQ(found[0].detail["size_bytes"], 10);
  EXPECT_EQ(found[0].subject, "harness");
  EXPECT_TRUE(events(look({}), kind::kLeftover).empty());
  // Cleaned up and left behind again: that is news.
  ::unlink(in_run_dir("stray").c_str());
  EXPECT_TRUE(events(look({}), kind::kLeftover).empty());
  write_file(in_run_dir("stray"));
  EXPECT_EQ(events(look({}), kind::kLeftover).size(), 1u);
}

TEST_F(FilesTest, a_socket_in_use_is_no_leftover_but_an_abandoned_one_is_its_targets) {
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 4, target->pid());
  const long listening = target->tell("listen " + in_run_dir("disk0.rpc"));
  EXPECT_TRUE(events(look({subject}), kind::kLeftover).empty());
  target->tell(fmt::format("close {}", listening));
  const auto found = events(look({subject}), kind::kLeftover);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].detail["type"], "socket");
  EXPECT_EQ(found[0].subject, "target:disk0");
  EXPECT_EQ(found[0].process_id, 4);
}

TEST_F(FilesTest, a_pid_in_the_name_tells_the_owner) {
  const auto qemu = make_fixture("qemu:a");
  const auto target = make_fixture("target:disk0");
  const std::vector<Subject> subjects{subject_of("qemu:a", 1, qemu->pid()),
                                      subject_of("target:disk0", 2, target->pid())};
  look(subjects);
  // The host's pid; the one it sees itself may have a single digit in a test's small namespace.
  write_file(in_run_dir(fmt::format("leftover.{}.0", qemu->pid())));
  const auto found = events(look(subjects), kind::kLeftover);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "qemu:a");
}

TEST_F(FilesTest, directories_are_entered_only_towards_what_is_expected) {
  ASSERT_EQ(::mkdir(in_run_dir("logs").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir(in_run_dir("strange").c_str(), 0700), 0);
  write_file(in_run_dir("logs/known"));
  write_file(in_run_dir("logs/unknown"));
  write_file(in_run_dir("strange/file"));
  expected_files_.insert(in_run_dir("logs/known"));
  const auto found = events(look({}), kind::kLeftover);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].detail["path"], "logs/unknown");
  EXPECT_EQ(found[1].detail["path"], "strange");
  EXPECT_EQ(found[1].detail["type"], "directory");
}

TEST_F(FilesTest, what_a_daemon_leaves_in_its_directory_is_the_daemons) {
  const auto daemon = make_fixture("libvirtd:a");
  for (const char* name : {"lv-a", "lv-a/run", "lv-a/cache", "lv-a/run/new"}) {
    ASSERT_EQ(::mkdir(in_run_dir(name).c_str(), 0700), 0);
  }
  for (const char* name : {"lv-a/run/pid", "lv-a/cache/caps.xml", "lv-a/run/guest.xml"}) write_file(in_run_dir(name));
  expected_files_ = {in_run_dir("lv-a/run/pid"), in_run_dir("lv-a/cache")};
  looked_into_ = {in_run_dir("lv-a"), in_run_dir("lv-a/run")};
  owners_ = {{in_run_dir("lv-a"), "libvirtd:a"}};
  const auto found = events(look({subject_of("libvirtd:a", 3, daemon->pid())}), kind::kLeftover);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].detail["path"], "lv-a/run/guest.xml");
  EXPECT_EQ(found[1].detail["path"], "lv-a/run/new");
  for (const record::Event& event : found) {
    EXPECT_EQ(event.subject, "libvirtd:a");
    EXPECT_EQ(event.process_id, 3);
  }
}

TEST_F(FilesTest, a_hostile_name_is_escaped_and_bounded) {
  write_file(in_run_dir("a\x1b[31m\n" + std::string(230, 'x')));
  const auto found = events(look({}), kind::kLeftover);
  ASSERT_EQ(found.size(), 1u);
  const auto path = found[0].detail["path"].get<std::string>();
  EXPECT_EQ(path.find('\x1b'), std::string::npos);
  EXPECT_EQ(path.find('\n'), std::string::npos);
  EXPECT_LE(path.size(), 200u);
}

TEST_F(FilesTest, shared_memory_is_ours_when_we_had_it_open) {
  const std::string ours = fmt::format("/dev/shm/probes-test-ours-{}", ::getpid());
  const std::string theirs = fmt::format("/dev/shm/probes-test-theirs-{}", ::getpid());
  write_file(theirs);
  const auto target = make_fixture("target:disk0");
  const Subject subject = subject_of("target:disk0", 4, target->pid());
  const long fd = target->tell("file " + ours);
  EXPECT_TRUE(events(look({subject}), kind::kLeftover).empty()) << "in use";
  target->tell(fmt::format("close {}", fd));
  const auto found = events(look({subject}), kind::kLeftover);
  ::unlink(ours.c_str());
  ::unlink(theirs.c_str());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].detail["path"], ours);
  EXPECT_EQ(found[0].subject, "target:disk0");
  EXPECT_EQ(found[0].process_id, 4);
}

TEST_F(FilesTest, shared_memory_is_ours_when_it_bears_the_runs_name) {
  const std::string tag = run_dir_->path().substr(run_dir_->path().rfind('/') + 1);
  const std::string path = "/dev/shm/ram-" + tag;
  write_file(path);
  const auto found = events(look({}), kind::kLeftover);
  ::unlink(path.c_str());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].detail["path"], path);
}

}  // namespace
}  // namespace migsoak::probes
