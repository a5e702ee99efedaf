#include "engine/guest_view.h"

#include "record/config_space.h"

namespace migsoak::engine {

namespace {
// Of one function; its pending bits may come and go. Beyond that, old ones are forgotten.
constexpr std::size_t kImagesMax = 16;
}  // namespace

base::Result<std::optional<record::Document>> GuestView::look(guest::GuestChannel& channel, base::Deadline deadline) {
  if (calls_++ % kEvery != 0) return std::nullopt;
  MIGSOAK_ASSIGN(const auto digests, channel.pci_config_digest(deadline, {}, kBytes));
  std::vector<std::string> fresh;
  for (const auto& [address, digest] : digests) {
    if (known_[address].count(digest) == 0) fresh.push_back(address);
  }
  std::map<std::string, std::string> images;
  if (!fresh.empty()) {
    MIGSOAK_ASSIGN(images, channel.pci_config(deadline, fresh, kBytes));
  }
  record::ConfigSpace space;
  space.method = "guest";
  for (const auto& [address, digest] : digests) {
    auto& known = known_[address];
    if (const auto read = images.find(address); read != images.end()) {
      if (known.size() >= kImagesMax) known.clear();
      known[digest] = read->second;
    }
    const auto bytes = known.find(digest);
    if (bytes == known.end()) continue;  // unplugged between the two questions
    record::ConfigFunction function;
    function.address = function.path = address;
    function.size = static_cast<std::int64_t>(kBytes);
    function.bytes = bytes->second;
    space.functions.push_back(std::move(function));
  }
  return record::Document{record::document_kind::kConfigSpace, "guest", 0, "guest", record::to_json(space)};
}

}  // namespace migsoak::engine
