// Where the guest image is and what it is.
#pragma once

#include <string>

#include "base/result.h"

namespace migsoak::guest {

struct GuestImage {
  std::string kernel;          // path of vmlinuz
  std::string initramfs;       // path of the initramfs with the agent as /init
  std::string kernel_version;  // "6.1.0-56-cloud-amd64"
  std::string kernel_package;  // "linux-image-6.1.0-56-cloud-amd64 6.1.192-2"
  std::string content_hash;    // of the initramfs
};

// $MIGSOAK_GUEST_IMAGE, else guest-images/ in the build tree the executable lies in (or its parents).
// kind bad_input with the command that builds it when it is missing.
base::Result<GuestImage> locate_image();

}  // namespace migsoak::guest
