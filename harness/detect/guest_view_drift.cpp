#include "detect/guest_view_drift.h"

#include <fmt/format.h>

#include <set>

namespace migsoak::detect {

namespace {

// The host's listing of that function with the guest's bytes: BARs are decoded by the host's knowledge of them.
record::ConfigFunction as_guest_sees(const record::ConfigFunction& host, const record::ConfigFunction& guest) {
  record::ConfigFunction seen = host;
  seen.size = guest.size;
  seen.bytes = guest.bytes;
  return seen;
}

// As much of the host's image as the guest read.
record::ConfigFunction cut_to(const record::ConfigFunction& host, std::int64_t size) {
  record::ConfigFunction cut = host;
  if (cut.size <= size) return cut;
  cut.size = size;
  if (cut.bytes.size() > 2 * static_cast<std::size_t>(size)) cut.bytes.resize(2 * static_cast<std::size_t>(size));
  return cut;
}

}  // namespace

std::vector<GuestViewMismatch> GuestViewDrift::troubles(const record::Observation& observation,
                                                        const SideDocuments& source, const SideDocuments& guest,
                                                        ConfigCompare& compare) {
  std::vector<GuestViewMismatch> found;
  if (!guest.space || !source.space) return found;
  if (observation.lineage != lineage_) seen_.clear();
  lineage_ = observation.lineage;
  std::map<std::string, Seen> now;
  for (const record::ConfigFunction& host : source.space->functions) {
    const record::ConfigFunction* read = host.address.empty() ? nullptr : guest.space->find(host.address);
    if (read == nullptr || read->size <= 0) continue;
    Seen seen{observation.iteration, as_guest_sees(host, *read), base::dump_json(source.device(host.id))};
    std::vector<ConfigDifference> differences;
    const Reading guests{&seen.function, "the guest on " + observation.plan.destination_side};
    if (host.size > 0) {
      const record::ConfigFunction left = cut_to(host, read->size);
      differences = compare.compare({&left, "the host on " + observation.plan.source_side}, guests, CompareAs::time);
    }
    const auto before = seen_.find(host.path);
    if (before != seen_.end() && before->second.function.id == host.id && before->second.entry == seen.entry &&
        before->second.function.device == host.device) {
      record::ConfigFunction then = before->second.function;
      then.bars = host.bars;  // their sizes are the two sides' affair
      const std::string role = fmt::format("the guest in iteration {}", before->second.iteration);
      for (ConfigDifference& more : compare.compare({&then, role}, guests, CompareAs::time)) {
        differences.push_back(std::move(more));
      }
    }
    std::set<std::string> told;
    for (ConfigDifference& difference : differences) {
      if (told.insert(difference.field).second) found.push_back({source.name_of(host.path), std::move(difference)});
    }
    now.emplace(host.path, std::move(seen));
  }
  seen_ = std::move(now);
  return found;
}

}  // namespace migsoak::detect
