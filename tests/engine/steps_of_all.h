// The steps that every iteration has once the guest is up: without operations, restarts and failed upgrades.
#pragma once

namespace migsoak::engine {

inline constexpr const char* kStepsOfAll[] = {"spawn the destination",
                                              "raise the destination",
                                              "is the destination still there",
                                              "settle the guest's disks",
                                              "match the destination's devices",
                                              "migrate",
                                              "end the source",
                                              "begin to read the device tree",
                                              "ask the daemons what they have",
                                              "verify the guest",
                                              "judge I/O errors",
                                              "wait for the quiet point",
                                              "sample"};

}  // namespace migsoak::engine
