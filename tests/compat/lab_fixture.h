// LabFixture: the system's QEMU in a contained run directory, surveyed against itself or against a double.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "compat/survey.h"
#include "proc/run_dir.h"

namespace migsoak::compat {

// Generous: a deadline of a test is for hangs, not for speed.
inline base::Deadline soon() {
  return base::Deadline::in(std::chrono::seconds(100));
}

class LabFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    auto run_dir = proc::RunDir::create("test");
    ASSERT_TRUE(run_dir) << run_dir.error().describe();
    run_dir_ = std::move(*run_dir);
    auto containment = proc::Containment::start({"test", run_dir_->path(), ""});
    ASSERT_TRUE(containment) << containment.error().describe();
    containment_ = std::move(*containment);
    proc::Reactor reactor;
    auto build = fleet::question({reactor, *containment_}, {"", "qemu-system-x86_64", {}, {}}, soon());
    ASSERT_TRUE(build) << build.error().describe();
    build_ = std::move(*build);
  }

  SurveyRequest request(const std::vector<DevicePair>& devices, const std::string& wanted = "pc") const {
    SurveyRequest request;
    request.builds.from = build_;
    request.builds.to = build_;
    request.builds.machine = fleet::choose_machine({build_}, wanted).value_or(wanted);
    request.devices = devices;
    return request;
  }
  base::Result<SurveyReport> run(const SurveyRequest& request) {
    return survey({*containment_, run_dir_->path(), nullptr}, request, soon());
  }
  // The report of one device; fails the test and is empty when there is none.
  DeviceReport survey_one(const DevicePair& device, const std::string& machine = "pc",
                          Placement placement = Placement::root) {
    SurveyRequest wanted = request({device}, machine);
    wanted.builds.placement = placement;
    const auto report = run(wanted);
    if (!report || report->devices.size() != 1) {
      ADD_FAILURE() << (report ? "not one device" : report.error().describe());
      return {};
    }
    return report->devices.front();
  }

  // Reversed at the end: processes first, then what contains them.
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
  fleet::Build build_;
};

inline DevicePair pair_of(const std::string& driver, const std::string& from, const std::string& to) {
  return {driver, from, to, true};
}
inline const ByteReport* byte_at(const DeviceReport& report, std::size_t offset) {
  for (const ByteReport& byte : report.bytes) {
    if (byte.offset == offset) return &byte;
  }
  return nullptr;
}
inline const StateReport* state_of(const DeviceReport& report, GuestState state) {
  for (const StateReport& one : report.states) {
    if (one.state == state) return &one;
  }
  return nullptr;
}

}  // namespace migsoak::compat
