// What the integration tests share: migsoak as a subprocess, in a directory of the test's own, and the proof that
// nothing is left when it has ended.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace migsoak::integration {

struct Outcome {
  int status = -1;  // exit status; 128 + n when signal n ended it; -1 when it had to be killed at the deadline
  std::string out, err;
  bool timed_out = false;
};
// For assertion messages.
std::string describe(const Outcome& outcome);

// Parts of a test's own scenario: the sides "a" and "b"; a disk "vd0" that a target "disk0" serves, with further lines
// of the target's.
std::string two_sides();
std::string served_disk(const std::string& of_target = "");

using Environment = std::map<std::string, std::string>;

// A migsoak that runs; killed when it goes out of scope unfinished.
class Running {
 public:
  // stdout and stderr go to files in `dir`.
  Running(const std::string& dir, const std::vector<std::string>& arguments, const Environment& environment);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  pid_t pid() const { return pid_; }
  bool ended() const;  // whether wait() would return at once
  void signal(int number) const;
  // Waits for its end; SIGKILLs it at the deadline.
  Outcome wait(std::chrono::seconds deadline = std::chrono::seconds(120));
  // What it has written so far.
  std::string out() const;
  std::string err() const;

 private:
  std::string out_path_, err_path_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

// A directory and a MIGSOAK_RUN_BASE per test. Its end is part of the test: no process of the run, no file of the run.
class MigsoakTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A file in the test's directory.
  std::string path(const std::string& name) const { return dir_ + "/" + name; }
  const std::string& dir() const { return dir_; }
  const std::string& run_base() const { return run_base_; }
  std::string write(const std::string& name, const std::string& text) const;
  static std::string read(const std::string& path);
  static std::string fault(const std::string& name);  // path of a shim (name without lib and .so) or a wrapper

  // Added to the environment of what is started from here on.
  Environment environment;
  Outcome migsoak(const std::vector<std::string>& arguments,
                  std::chrono::seconds deadline = std::chrono::seconds(120)) const;
  Running start(const std::vector<std::string>& arguments) const;

  // `migsoak findings DB --json`; records a failure when it can't be had.
  base::Json findings(const std::string& db) const;
  // The one finding of that detector; a failure and an empty object when there is none or more than one.
  static base::Json only(const base::Json& findings, const std::string& detector);

  // Host pids of living processes that belong to this test's runs, migsoak and its guardian included.
  std::vector<pid_t> processes() const;
  static std::string command_line(pid_t pid);
  // Files and sockets below the run base; empty directories are not counted.
  std::vector<std::string> run_files() const;
  // Waits until `condition` holds; false at the deadline.
  template <typename Condition>
  static bool eventually(Condition condition, std::chrono::seconds deadline = std::chrono::seconds(30)) {
    const auto end = std::chrono::steady_clock::now() + deadline;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      pause();
    }
    return true;
  }
  // Fails the test when, a grace of two seconds over, anything of its runs is left.
  void expect_nothing_left() const;

 private:
  static void pause();
  std::string dir_, run_base_;
};

// Why no private libvirtd can be run here; empty: it can.
std::string missing_libvirt();

}  // namespace migsoak::integration
