// Lanes are threads, each with a Reactor of its own; they share the containment and the request to stop.
#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "proc/child_process.h"
#include "proc/containment.h"
#include "proc/reactor.h"

namespace migsoak::proc {
namespace {

base::Deadline in_a_minute() {
  return base::Deadline::in(std::chrono::seconds(60));
}

TEST(ContainmentThreads, LanesStartWatchAndEndChildrenSideBySide) {
  auto started = Containment::start({"lanes-" + std::to_string(::getpid()), "", ""});
  ASSERT_TRUE(started) << started.error().describe();
  Containment& containment = **started;
  StopRequest stop;
  std::vector<std::thread> lanes;
  for (int lane = 0; lane < 4; ++lane) {
    lanes.emplace_back([&containment, &stop, lane] {
      Reactor reactor(&stop);
      for (int i = 0; i < 8; ++i) {
        if (lane == 0 && i == 4) stop.raise();  // once: waits go on
        SpawnSpec word;
        word.name = "echo";
        word.argv = {"echo", std::to_string(lane)};
        const auto output = run_command(reactor, containment, word, in_a_minute());
        ASSERT_TRUE(output) << output.error().describe();
        EXPECT_EQ(output->out, std::to_string(lane) + "\n");
        SpawnSpec sleeper;
        sleeper.name = "sleep";
        sleeper.argv = {"sleep", "1000"};
        const auto child = ChildProcess::spawn(reactor, containment, sleeper);
        ASSERT_TRUE(child) << child.error().describe();
        EXPECT_THAT(containment.processes(), testing::Contains((*child)->pid()));
        EXPECT_TRUE(containment.guardian_alive());
        EXPECT_TRUE((*child)->signal(SIGTERM));
        const auto end = (*child)->wait_exit(in_a_minute());
        ASSERT_TRUE(end) << end.error().describe();
        EXPECT_EQ(end->signal, SIGTERM);
      }
    });
  }
  for (std::thread& lane : lanes) lane.join();
  EXPECT_EQ(stop.level(), 1);
  EXPECT_THAT(containment.processes(), testing::IsEmpty());
}

}  // namespace
}  // namespace migsoak::proc
