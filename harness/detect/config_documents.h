// Internal to detect: what one side of an iteration looked like, from the documents that the record holds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "detect/judge.h"
#include "pci/config_image.h"
#include "record/config_space.h"

namespace migsoak::detect {

// A device as a person names it, as far as the record tells.
struct DeviceName {
  std::string id;       // "vd0"; empty when the harness did not ask for it
  std::string type;     // "virtio-blk"; vendor:device when nothing better is known
  std::string address;  // "0000:00:05.0"
  // "vd0 (virtio-blk, 0000:00:05.0)", "8086:2922 (0000:00:1f.2)"
  std::string words() const;
  // What stays the same across runs.
  std::string key() const { return !id.empty() ? id : address.empty() ? type : address + " " + type; }
};

struct SideDocuments {
  std::string side;
  // Null: not read, or it can't be read back. The same content in another iteration may be the same object.
  std::shared_ptr<const record::ConfigSpace> space;
  std::shared_ptr<const record::Virtqueues> virtqueues;
  std::shared_ptr<const base::Json> device_set = no_devices();  // an array, never null

  static const std::shared_ptr<const base::Json>& no_devices();
  // The entry of the device set with that id; null when there is none.
  const base::Json& device(const std::string& id) const;
  // Of the function at QEMU's device path. `section` is what the stream calls it ("virtio-blk"), when known.
  DeviceName name_of(const std::string& path, const std::string& section = "") const;
};
// What has the content of an earlier one (Document::content_id) is not made again. Bounded: what does not repeat is
// forgotten.
class DocumentCache {
 public:
  // Documents of `point` ("source", "destination") in the observation; those that can't be read are left out.
  SideDocuments at(const record::Observation& observation, const std::string& point);
  static constexpr std::size_t kBytesMax = 1 << 20;
  std::size_t bytes() const { return bytes_; }

 private:
  // One of them is set; none when the content can't be read.
  struct Made {
    std::shared_ptr<const record::ConfigSpace> space;
    std::shared_ptr<const record::Virtqueues> virtqueues;
    std::shared_ptr<const base::Json> device_set;
  };
  Made made_of(const record::Document& document);

  std::map<std::pair<std::string, std::int64_t>, Made> made_;  // by kind and content
  std::size_t bytes_ = 0;                                      // of the contents, about
};

// "discard: source off, destination not set", one per property of that device that differs between the sides. Empty
// when either side's set does not list it.
std::vector<std::string> differing_properties(const SideDocuments& source, const SideDocuments& destination,
                                              const std::string& id);

// The image of a function; nothing when its bytes were not read (or are damaged).
std::optional<pci::ConfigImage> image_of(const record::ConfigFunction& function);
// BARs in pci's terms.
std::vector<pci::Bar> bars_of(const record::ConfigFunction& function);
// The destination's mask of writable bits: probed where somebody did, else by the specifications.
pci::ConfigImage writable_of(const record::ConfigFunction& function, const pci::ConfigImage& image);

// "10.0.13" of a side; the executable when the version is not known.
std::string side_build(const std::vector<record::SideInfo>& sides, const std::string& side);
// "from" and "to" of a migration, with the builds on both: what a waive can name.
void put_pair(base::Json& evidence, const record::Plan& plan, const std::vector<record::SideInfo>& sides);

// Text in which record::normalise_text() finds no digit to fold: "vd0" and "vd1" stay two devices.
std::string unfolded(const std::string& text);

}  // namespace migsoak::detect
