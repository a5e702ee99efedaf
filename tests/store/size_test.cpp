// What a clean iteration costs: bytes in the database and time in begin() and finish().
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <iostream>

#include "sanitized.h"
#include "store/equal.h"
#include "store/scratch.h"
#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak {

TEST(StoreSize, CleanIterationCostsAtMost4KiB) {
  constexpr std::int64_t kIterations = kSanitized ? 500 : 1500;
  const scratch::Directory directory;
  const std::string path = directory.file("results.db");
  std::vector<record::Observation> given;
  std::chrono::duration<double, std::milli> spent{}, read{};
  {
    auto store = store::Store::create(path, synthetic::manifest());
    ASSERT_TRUE(store) << store.error().describe();
    synthetic::Run run;
    for (std::int64_t i = 0; i < kIterations; ++i) {
      const record::Observation begun = run.begun();
      given.push_back(run.next());
      const auto before = std::chrono::steady_clock::now();
      ASSERT_TRUE((*store)->begin(begun));
      ASSERT_TRUE((*store)->finish(given.back(), record::Verdict::pass));
      spent += std::chrono::steady_clock::now() - before;
    }
    ASSERT_TRUE((*store)->end_run(record::Verdict::pass, "finished"));
  }
  EXPECT_FALSE(std::filesystem::exists(path + "-wal")) << "a closed database is one file";
  const auto bytes = static_cast<double>(std::filesystem::file_size(path)) / kIterations;
  EXPECT_LE(bytes, 4096);

  auto store = store::Store::open(path);
  ASSERT_TRUE(store) << store.error().describe();
  std::size_t at = 0;
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE((*store)->for_each_observation([&](const record::Observation& o) -> base::Result<void> {
    record::expect_equal(given[at++], o);
    return {};
  }));
  read += std::chrono::steady_clock::now() - before;
  EXPECT_EQ(at, given.size());
  std::cout << fmt::format(
      "{:.0f} bytes per iteration ({} samples, {} births, {} deaths each); "
      "{:.2f} ms per begin() and finish(); {:.2f} ms to read one back\n",
      bytes, given[10].samples.size(), given[10].births.size(), given[10].deaths.size(), spent.count() / kIterations,
      read.count() / kIterations);
}

}  // namespace migsoak
