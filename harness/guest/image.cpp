#include "guest/image.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "base/text.h"

namespace migsoak::guest {

namespace {

namespace fs = std::filesystem;

constexpr const char* kDescription = "image.json";

base::Result<GuestImage> read_image(const fs::path& folder) {
  std::ostringstream text;
  text << std::ifstream(folder / kDescription, std::ios::binary).rdbuf();
  const auto json = base::parse_json(text.str());
  if (!json || !json->is_object()) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("{} is not a guest image's description", (folder / kDescription).string()));
  }
  const auto field = [&](const char* key) { return base::printable(base::json_get(*json, key, std::string()), 200); };
  GuestImage image;
  image.kernel = (folder / field("kernel")).string();
  image.initramfs = (folder / field("initramfs")).string();
  image.kernel_version = field("kernel_version");
  image.kernel_package = field("kernel_package");
  image.content_hash = field("content_hash");
  for (const std::string& path : {image.kernel, image.initramfs}) {
    std::error_code error;
    if (!fs::is_regular_file(path, error)) {
      return base::fail(base::ErrorKind::bad_input, fmt::format("the guest image lacks {}; build it again", path));
    }
  }
  return image;
}

}  // namespace

base::Result<GuestImage> locate_image() {
  std::error_code error;
  if (const char* folder = std::getenv("MIGSOAK_GUEST_IMAGE"); folder != nullptr && *folder != '\0') {
    if (fs::exists(fs::path(folder) / kDescription, error)) return read_image(folder);
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("no {} in MIGSOAK_GUEST_IMAGE={}", kDescription, base::printable(folder)));
  }
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  const fs::path home = executable.parent_path();
  for (fs::path folder = home; !folder.empty(); folder = folder.parent_path()) {
    const fs::path candidate = folder / "guest-images";
    if (fs::exists(candidate / kDescription, error)) return read_image(candidate);
    if (folder == folder.root_path()) break;
  }
  return base::fail(base::ErrorKind::bad_input,
                    fmt::format("no guest image near {}; build it with: cmake --build {} --target guest_image",
                                home.string(), base::shell_quote(home.string())));
}

}  // namespace migsoak::guest
