#include "proc/run_dir.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace migsoak::proc {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RunDirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = fs::temp_directory_path() / ("rd-" + std::to_string(::getpid()));
    fs::remove_all(base_);
    fs::create_directory(base_);
    ::setenv("MIGSOAK_RUN_BASE", base_.c_str(), 1);
    ours_ = base_ / ("migsoak-" + std::to_string(::geteuid()));
  }
  void TearDown() override {
    ::unsetenv("MIGSOAK_RUN_BASE");
    fs::remove_all(base_);
  }

  // A run directory as a killed harness leaves it.
  fs::path leave_dead(const std::string& name, const std::string& owner = kOwner, int mode = 0700) const {
    fs::create_directories(ours_ / name / "sub");
    ::chmod(ours_.c_str(), 0700);
    ::chmod((ours_ / name).c_str(), static_cast<mode_t>(mode));
    std::ofstream(ours_ / name / "owner") << owner;
    std::ofstream(ours_ / name / "sub" / "file") << "data";
    return ours_ / name;
  }
  static constexpr const char* kOwner = "migsoak-run 1\nrun_id x\npid 12345\nstart_ticks 678\n";
  fs::path base_;
  fs::path ours_;
};

TEST_F(RunDirTest, IsPrivateShortAndRemoved) {
  std::string path;
  {
    const auto run_dir = RunDir::create("run-1");
    ASSERT_TRUE(run_dir) << run_dir.error().describe();
    path = (*run_dir)->path();
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700U);
    EXPECT_EQ(path.size(), ours_.string().size() + 7);
    std::ofstream(path + "/leftover") << "x";
    fs::create_directories(path + "/a/b/c");
    fs::create_symlink("/etc", path + "/a/link");
  }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_FALSE(fs::exists(ours_));
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

// Guest RAM goes with its run, however that ends.
TEST_F(RunDirTest, MemoryDirGoesWithTheRun) {
  std::string memory;
  {
    const auto run_dir = RunDir::create("run-1");
    ASSERT_TRUE(run_dir) << run_dir.error().describe();
    const auto made = (*run_dir)->memory_dir(1 << 20);
    ASSERT_TRUE(made) << made.error().describe();
    memory = *made;
    if (memory == (*run_dir)->path()) GTEST_SKIP() << "/dev/shm is no tmpfs with 1 MiB free";
    EXPECT_EQ(memory, "/dev/shm/migsoak-" + std::to_string(::geteuid()) + "-" +
                          fs::path((*run_dir)->path()).filename().string());
    struct stat info {};
    ASSERT_EQ(::stat(memory.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700U);
    std::ofstream(memory + "/q0.ram") << "guest";
    EXPECT_EQ((*run_dir)->memory_dir(1 << 20).value_or(""), memory);
  }
  EXPECT_FALSE(fs::exists(memory));
}

TEST_F(RunDirTest, MemoryDirOfADeadRunGoesToo) {
  const std::string name = "dead" + std::to_string(::getpid() % 90 + 10);
  const fs::path memory = "/dev/shm/migsoak-" + std::to_string(::geteuid()) + "-" + name;
  const fs::path others = "/dev/shm/migsoak-" + std::to_string(::geteuid()) + "-alive1";
  leave_dead(name);
  std::error_code error;
  if (!fs::create_directory(memory, error) || !fs::create_directory(others, error)) GTEST_SKIP() << "no /dev/shm";
  ::chmod(memory.c_str(), 0700);
  std::ofstream(memory / "q0.ram") << "guest";
  EXPECT_THAT(RunDir::remove_leftovers(), ElementsAre((ours_ / name).string()));
  EXPECT_FALSE(fs::exists(memory));
  EXPECT_TRUE(fs::exists(others));
  fs::remove_all(others);
}

TEST_F(RunDirTest, MemoryThatDoesNotFitIsInTheRunDirectory) {
  const auto run_dir = RunDir::create("run-1");
  ASSERT_TRUE(run_dir) << run_dir.error().describe();
  EXPECT_EQ((*run_dir)->memory_dir(1ull << 60).value_or(""), (*run_dir)->path());
}

TEST_F(RunDirTest, LivingRunsAreNoLeftovers) {
  const auto first = RunDir::create("run-1");
  const auto second = RunDir::create("run-2");
  ASSERT_TRUE(first && second);
  EXPECT_NE((*first)->path(), (*second)->path());
  EXPECT_THAT(RunDir::remove_leftovers(), IsEmpty());
  EXPECT_TRUE(fs::exists((*first)->path()));
}

TEST_F(RunDirTest, DeadRunsAreRemoved) {
  const fs::path dead = leave_dead("dead01");
  const auto living = RunDir::create("run");
  ASSERT_TRUE(living);
  EXPECT_THAT(RunDir::remove_leftovers(), ElementsAre(dead.string()));
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists((*living)->path()));
}

TEST_F(RunDirTest, WhatIsNotProvablyOursStays) {
  const fs::path no_owner = leave_dead("noown1");
  fs::remove(no_owner / "owner");
  const fs::path odd_owner = leave_dead("oddow1", "something else\n");
  const fs::path half_owner = leave_dead("halfo1", "migsoak-run 1\nrun_id x\npid 12");
  const fs::path open_mode = leave_dead("openm1", kOwner, 0755);
  const fs::path odd_name = leave_dead("not-a-run");
  const fs::path victim = base_ / "victim";
  fs::create_directory(victim);
  fs::copy(leave_dead("model1") / "owner", victim / "owner");
  ::chmod(victim.c_str(), 0700);
  fs::create_directory_symlink(victim, ours_ / "linked");
  const fs::path link_owner = leave_dead("linko1");
  fs::remove(link_owner / "owner");
  fs::create_symlink(victim / "owner", link_owner / "owner");
  const fs::path locked = leave_dead("locked");
  const int lock = ::open((locked / "owner").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);

  EXPECT_THAT(RunDir::remove_leftovers(), ElementsAre((ours_ / "model1").string()));
  for (const fs::path& path : {no_owner, odd_owner, half_owner, open_mode, odd_name, victim, link_owner, locked}) {
    EXPECT_TRUE(fs::exists(path / "sub") || path == victim) << path;
  }
  EXPECT_TRUE(fs::exists(victim / "owner"));
  ::close(lock);
}

TEST_F(RunDirTest, RemovalFollowsNoLink) {
  const fs::path victim = base_ / "victim";
  fs::create_directory(victim);
  std::ofstream(victim / "precious") << "x";
  const fs::path dead = leave_dead("dead02");
  fs::create_directory_symlink(victim, dead / "link");
  EXPECT_TRUE(remove_run_dir(dead.string()));
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(victim / "precious"));
}

TEST_F(RunDirTest, RemoveRefusesAnythingElse) {
  fs::create_directory(base_ / "abc123");
  EXPECT_FALSE(remove_run_dir("/"));
  EXPECT_FALSE(remove_run_dir(""));
  EXPECT_FALSE(remove_run_dir("relative/abc123"));
  EXPECT_FALSE(remove_run_dir((base_ / "abc123").string()));
  EXPECT_FALSE(remove_run_dir((ours_ / ".." / "abc123").string()));
  const fs::path no_owner = leave_dead("noown2");
  fs::remove(no_owner / "owner");
  const auto refused = remove_run_dir(no_owner.string());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().describe(), HasSubstr("no owner file"));
  // What is gone already is no error: guardian and harness may both have removed it.
  EXPECT_TRUE(remove_run_dir((ours_ / "gone12").string()));
}

TEST_F(RunDirTest, AStrangersDirectoryIsNotUsed) {
  fs::create_directory(ours_);
  ::chmod(ours_.c_str(), 0777);
  const auto open = RunDir::create("run");
  ASSERT_FALSE(open);
  EXPECT_THAT(open.error().describe(), HasSubstr("mode 0700"));
  fs::remove(ours_);
  fs::create_directory(base_ / "elsewhere");
  fs::create_directory_symlink(base_ / "elsewhere", ours_);
  EXPECT_FALSE(RunDir::create("run"));
  EXPECT_THAT(RunDir::remove_leftovers(), IsEmpty());
}

TEST(SocketPath, IsBoundedByTheKernel) {
  EXPECT_TRUE(check_socket_path(std::string(107, 'x')));
  const auto refused = check_socket_path("/" + std::string(107, 'x'));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(refused.error().message, HasSubstr("108"));
  EXPECT_THAT(refused.error().message, HasSubstr("MIGSOAK_RUN_BASE"));
}

}  // namespace
}  // namespace migsoak::proc
