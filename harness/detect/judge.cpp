#include "detect/judge.h"

#include <algorithm>
#include <deque>
#include <map>
#include <unordered_map>

#include "base/text.h"
#include "detect/catalog.h"
#include "detect/causes.h"

namespace migsoak::detect {

namespace {

using record::Finding;
using record::IterationStatus;
using record::Severity;
using record::Verdict;

constexpr std::size_t kTitleBytesMax = 800;

// A waive's device, from, to and restart are matched against what the detector put into the evidence; `from` and `to`
// may name the side or the build.
bool matches(const record::Waive& waive, const Finding& finding) {
  const auto is = [](const std::string& wanted, const std::string& value) { return wanted.empty() || wanted == value; };
  const auto in = [&](const std::string& wanted, const char* key, const char* other) {
    return wanted.empty() || wanted == base::json_get<std::string>(finding.evidence, key, "") ||
           wanted == base::json_get<std::string>(finding.evidence, other, "");
  };
  return is(waive.detector, finding.detector) && is(waive.kind, finding.kind) && is(waive.process, finding.process) &&
         (in(waive.device, "device", "disk") || in(waive.device, "device", "device_id")) &&
         in(waive.from, "from", "from_qemu") && in(waive.to, "to", "to_qemu") &&
         is(waive.restart, base::json_get<std::string>(finding.evidence, "restart", ""));
}

void merge_into(Finding& into, const Finding& other) {
  const std::int64_t count = into.count + other.count;
  const auto earlier = [](const std::optional<std::int64_t>& a, const std::optional<std::int64_t>& b) {
    return !a ? b : !b ? a : std::optional(std::min(*a, *b));
  };
  const auto detected = earlier(into.detected_iteration, other.detected_iteration);
  if (other.first_iteration && (!into.first_iteration || *other.first_iteration < *into.first_iteration)) into = other;
  into.count = count;
  into.detected_iteration = detected;
}

bool earlier_first(const Finding& a, const Finding& b) {
  if (a.severity != b.severity) return a.severity == Severity::fail;
  const std::int64_t first_a = a.first_iteration.value_or(-1), first_b = b.first_iteration.value_or(-1);
  if (first_a != first_b) return first_a < first_b;
  if (a.detected_iteration != b.detected_iteration) return a.detected_iteration < b.detected_iteration;
  return a.fingerprint < b.fingerprint;
}

}  // namespace

struct Judge::Impl {
  explicit Impl(record::Manifest m) : manifest(std::move(m)) {}

  // What a detector said when its revision was this.
  struct Told {
    std::unique_ptr<Detector> detector;
    std::uint64_t revision = ~0ULL;
    std::vector<Finding> findings;
    std::vector<record::Exclusion> exclusions;
  };
  using Lane = std::vector<Told>;
  Lane& lane(int number) {
    auto [found, fresh] = lanes.try_emplace(number);
    if (fresh) {
      for (const DetectorInfo& info : detectors()) found->second.emplace_back().detector = info.make(manifest);
    }
    return found->second;
  }
  std::uint64_t revision() const {
    std::uint64_t sum = lanes.size();
    for (const auto& [number, lane_detectors] : lanes) {
      for (const Told& told : lane_detectors) sum += told.detector->revision();
    }
    return sum;
  }
  void update();

  struct Mark {
    bool unknown = false;
    std::vector<std::string> touched;
  };
  void mark(std::int64_t iteration, Mark mark) {
    if (marks.insert_or_assign(iteration, std::move(mark)).second) marked.push_back(iteration);
    if (marked.size() <= kVerdictsKept) return;
    marks.erase(marked.front());
    marked.pop_front();
  }

  record::Manifest manifest;
  std::map<int, Lane> lanes;
  bool any_observed = false, any_unknown = false;
  std::unordered_map<std::int64_t, Mark> marks;  // of the last iterations
  std::deque<std::int64_t> marked;               // those, in the order in which they were observed

  // What findings() and exclusions() answer as long as no detector has anything new.
  std::uint64_t cached_revision = ~0ULL;
  std::vector<Finding> findings;
  std::vector<record::Exclusion> exclusions;
  std::unordered_map<std::string, Severity> severity_of;  // by fingerprint, of what is not waived
};

void Judge::Impl::update() {
  const std::uint64_t now = revision();
  if (now == cached_revision) return;
  cached_revision = now;
  std::map<std::string, Finding> merged;
  std::map<std::pair<std::string, std::string>, record::Exclusion> left_out;
  for (auto& [number, lane_detectors] : lanes) {
    std::vector<Finding> own;
    for (Told& told : lane_detectors) {
      if (told.revision != told.detector->revision()) {
        told.revision = told.detector->revision();
        told.findings = told.detector->findings();
        told.exclusions = told.detector->exclusions();
      }
      own.insert(own.end(), told.findings.begin(), told.findings.end());
      for (const record::Exclusion& exclusion : told.exclusions) {
        const auto [sum, fresh] = left_out.try_emplace({exclusion.name, exclusion.detector}, exclusion);
        if (!fresh) sum->second.count += exclusion.count;
      }
    }
    explain_causes(manifest, own);
    for (Finding& finding : own) {
      const auto found = merged.find(finding.fingerprint);
      if (found == merged.end()) {
        std::string fingerprint = finding.fingerprint;
        merged.emplace(std::move(fingerprint), std::move(finding));
      } else {
        merge_into(found->second, finding);
      }
    }
  }
  findings.clear();
  severity_of.clear();
  for (auto& [fingerprint, finding] : merged) {
    const auto waive =
        std::find_if(manifest.gate.waives.begin(), manifest.gate.waives.end(),
                     [&, &f = finding](const record::Waive& candidate) { return matches(candidate, f); });
    if (waive != manifest.gate.waives.end()) {
      record::Exclusion& sum = left_out[{"waive:" + finding.detector, waive->reason}];
      sum = {"waive:" + finding.detector, finding.detector, waive->reason, sum.count + finding.count};
      continue;
    }
    const auto lowered = manifest.gate.severity.find(finding.detector);
    if (lowered != manifest.gate.severity.end()) finding.severity = lowered->second;
    severity_of[fingerprint] = finding.severity;
    finding.title = base::printable(finding.title, kTitleBytesMax);  // it quotes guests, logs and file names
    findings.push_back(std::move(finding));
  }
  std::sort(findings.begin(), findings.end(), earlier_first);
  exclusions.clear();
  for (auto& [key, exclusion] : left_out) exclusions.push_back(std::move(exclusion));
}

Judge::Judge(record::Manifest manifest) : impl_(std::make_unique<Impl>(std::move(manifest))) {}
Judge::~Judge() = default;

void Judge::observe(const record::Observation& observation) {
  Impl::Mark mark;
  for (const Impl::Told& told : impl_->lane(observation.lane)) {
    told.detector->observe(observation);
    const std::vector<std::string>& touched = told.detector->touched();
    mark.touched.insert(mark.touched.end(), touched.begin(), touched.end());
    mark.unknown = mark.unknown || told.detector->unreadable();
  }
  mark.unknown =
      mark.unknown || observation.status == IterationStatus::unknown || observation.status == IterationStatus::started;
  for (const record::Event& event : observation.events) {
    const bool blind = event.kind == record::event_kind::kHarnessError || event.kind == record::event_kind::kReadFailed;
    mark.unknown = mark.unknown || blind;
  }
  impl_->any_unknown = impl_->any_unknown || mark.unknown;
  impl_->any_observed = true;
  impl_->mark(observation.iteration, std::move(mark));
}

std::vector<record::Finding> Judge::findings() const {
  impl_->update();
  return impl_->findings;
}

std::vector<record::Exclusion> Judge::exclusions() const {
  impl_->update();
  return impl_->exclusions;
}

std::uint64_t Judge::revision() const {
  return impl_->revision();
}

record::Verdict Judge::verdict() const {
  impl_->update();
  const bool failed = std::any_of(impl_->findings.begin(), impl_->findings.end(),
                                  [](const Finding& finding) { return finding.severity == Severity::fail; });
  if (failed) return Verdict::fail;
  return impl_->any_unknown || !impl_->any_observed ? Verdict::unknown : Verdict::pass;
}

record::Verdict Judge::verdict_of(std::int64_t iteration) const {
  impl_->update();
  const auto mark = impl_->marks.find(iteration);
  if (mark == impl_->marks.end()) return Verdict::unknown;
  for (const std::string& fingerprint : mark->second.touched) {
    const auto severity = impl_->severity_of.find(fingerprint);
    if (severity != impl_->severity_of.end() && severity->second == Severity::fail) return Verdict::fail;
  }
  return mark->second.unknown ? Verdict::unknown : Verdict::pass;
}

}  // namespace migsoak::detect
