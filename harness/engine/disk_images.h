// DiskImages: the files behind a guest's disks, in the lane's run directory (image_path()); removed with this.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/plan_types.h"

namespace migsoak::engine {

class DiskImages {
 public:
  explicit DiskImages(std::string run_dir) : run_dir_(std::move(run_dir)) {}
  ~DiskImages();
  DiskImages(const DiskImages&) = delete;
  DiskImages& operator=(const DiskImages&) = delete;

  // Of every disk that the guest boots with or that may be plugged: full of zeros.
  base::Result<void> make(const Scenario& scenario);
  const std::vector<std::string>& paths() const { return paths_; }

 private:
  base::Result<void> make_one(const std::string& device_id, std::uint64_t bytes);

  std::string run_dir_;
  std::vector<std::string> paths_;
};

}  // namespace migsoak::engine
