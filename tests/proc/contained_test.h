// ContainedTest: a fixture with a run directory and a containment of its own, for tests that start processes.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "proc/containment.h"
#include "proc/run_dir.h"

namespace migsoak::proc {

class ContainedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto run_dir = RunDir::create("test");
    ASSERT_TRUE(run_dir) << run_dir.error().describe();
    run_dir_ = std::move(*run_dir);
    auto containment = Containment::start({"test", run_dir_->path(), ""});
    ASSERT_TRUE(containment) << containment.error().describe();
    containment_ = std::move(*containment);
  }

  // Reversed at the end: processes first (members of what derives from this), then what contains them.
  std::unique_ptr<RunDir> run_dir_;
  std::unique_ptr<Containment> containment_;
};

}  // namespace migsoak::proc
