// Databases as most tests want them: there, or the test has failed.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "store/store.h"
#include "store/synthetic.h"

namespace migsoak::store {

inline std::unique_ptr<Store> created(const std::string& path) {
  auto store = Store::create(path, synthetic::manifest());
  EXPECT_TRUE(store) << store.error().describe();
  return store ? std::move(*store) : nullptr;
}

inline std::unique_ptr<Store> opened(const std::string& path, bool writable = false) {
  auto store = Store::open(path, writable);
  EXPECT_TRUE(store) << store.error().describe();
  return store ? std::move(*store) : nullptr;
}

}  // namespace migsoak::store
