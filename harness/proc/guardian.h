// What the harness and its guardian say to each other. Internal to proc.
#pragma once

namespace migsoak::proc {

inline constexpr char kGuardianReady = 'r';  // guardian -> harness: signals are ignored now
inline constexpr char kGuardianKill = 'k';   // harness -> guardian: kill everything in the namespace
inline constexpr char kGuardianQuit = 'q';   // harness -> guardian: an orderly end, the run directory is not yours

}  // namespace migsoak::proc
