// A process to look at: this test program run again as `fixture`, which does what it is told over a socket.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "probes/probe.h"
#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "proc/run_dir.h"

namespace migsoak::probes {

inline constexpr int kFixtureFd = 3;  // in the fixture: its end of the socket
inline constexpr std::chrono::seconds kPatience{30};

// The other side: main() of the fixture.
int fixture_main();

class Fixture {
 public:
  Fixture(proc::Reactor& reactor, proc::Containment& containment, const std::string& name);
  pid_t pid() const { return child_->pid(); }
  proc::ChildProcess& child() { return *child_; }
  // Sends one command line and returns the answer: a number (descriptor or pid), or fails the test.
  long tell(const std::string& command);

 private:
  base::UniqueFd socket_;
  std::unique_ptr<proc::ChildProcess> child_;
};

class ProbesTest : public ::testing::Test {
 protected:
  void SetUp() override;

  std::unique_ptr<Fixture> make_fixture(const std::string& name) {
    return std::make_unique<Fixture>(reactor_, *containment_, name);
  }
  static Subject subject_of(const std::string& name, std::int64_t process_id, pid_t pid);
  // The scene of a quiet point with these subjects; reparented processes and the guardian as they are now.
  Scene scene_of(std::vector<Subject> subjects);
  record::Observation look(std::vector<Subject> subjects);
  bool wait_until(const std::function<bool()>& condition);

  proc::Reactor reactor_;
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
  ProbeState state_;
  std::set<pid_t> known_;  // Scene::known_processes beside the subjects
  std::set<std::string> expected_files_, looked_into_;
  std::map<std::string, std::string> owners_;
};

// What a test asks of an observation.
double sample(const record::Observation& observation, const std::string& subject, const std::string& metric);
bool has_sample(const record::Observation& observation, const std::string& subject, const std::string& metric);
std::vector<record::Event> events(const record::Observation& observation, const std::string& kind);
std::string birth_detail(const record::Observation& observation, std::int64_t process_id, int fd);

}  // namespace migsoak::probes
