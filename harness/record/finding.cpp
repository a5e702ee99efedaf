#include "record/finding.h"

#include <cctype>

#include "base/text.h"
#include "record/json_fields.h"

namespace migsoak::record {

std::string to_string(Severity severity) {
  return severity == Severity::fail ? "fail" : "warn";
}
std::string to_string(Blame blame) {
  switch (blame) {
    case Blame::subject: return "subject";
    case Blame::harness: return "harness";
    case Blame::environment: return "environment";
  }
  return "?";
}
std::string to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass: return "pass";
    case Verdict::unknown: return "unknown";
    case Verdict::fail: return "fail";
  }
  return "?";
}
base::Result<Severity> severity_from(const std::string& name) {
  if (name == "fail") return Severity::fail;
  if (name == "warn") return Severity::warn;
  return base::fail(base::ErrorKind::bad_input, "severity '" + base::printable(name) + "' is neither fail nor warn");
}
base::Result<Blame> blame_from(const std::string& name) {
  if (name == "subject") return Blame::subject;
  if (name == "harness") return Blame::harness;
  if (name == "environment") return Blame::environment;
  return base::fail(base::ErrorKind::bad_input, "unknown blame '" + base::printable(name) + "'");
}
base::Result<Verdict> verdict_from(const std::string& name) {
  if (name == "pass") return Verdict::pass;
  if (name == "unknown") return Verdict::unknown;
  if (name == "fail") return Verdict::fail;
  return base::fail(base::ErrorKind::bad_input, "unknown verdict '" + base::printable(name) + "'");
}

base::Json to_json(const Finding& finding) {
  base::Json json = {{"detector", finding.detector},
                     {"severity", to_string(finding.severity)},
                     {"blame", to_string(finding.blame)},
                     {"count", finding.count},
                     {"title", finding.title},
                     {"fingerprint", finding.fingerprint},
                     {"evidence", finding.evidence}};
  const auto text = [&json](const char* key, const std::string& value) {
    if (!value.empty()) json[key] = value;
  };
  const auto number = [&json](const char* key, const auto& value) {
    if (value) json[key] = *value;
  };
  text("process", finding.process);
  text("kind", finding.kind);
  text("replay", finding.replay);
  number("first_iteration", finding.first_iteration);
  number("detected_iteration", finding.detected_iteration);
  number("rate_per_iteration", finding.rate_per_iteration);
  number("exhausts_at_iteration", finding.exhausts_at_iteration);
  return json;
}

base::Result<Finding> finding_from_json(const base::Json& json) {
  Finding finding;
  std::string severity, blame;
  if (!json.is_object() || !read_field(json, "detector", finding.detector) || !read_field(json, "severity", severity) ||
      !read_field(json, "blame", blame) || !read_field(json, "process", finding.process) ||
      !read_field(json, "kind", finding.kind) || !read_field(json, "count", finding.count) ||
      !read_field(json, "title", finding.title) || !read_field(json, "fingerprint", finding.fingerprint) ||
      !read_field(json, "replay", finding.replay) || !read_field(json, "first_iteration", finding.first_iteration) ||
      !read_field(json, "detected_iteration", finding.detected_iteration) ||
      !read_field(json, "rate_per_iteration", finding.rate_per_iteration) ||
      !read_field(json, "exhausts_at_iteration", finding.exhausts_at_iteration) ||
      !read_field(json, "evidence", finding.evidence)) {
    return wrong_field("finding");
  }
  MIGSOAK_ASSIGN(finding.severity, severity_from(severity));
  MIGSOAK_ASSIGN(finding.blame, blame_from(blame));
  return finding;
}

std::string normalise_text(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto is_word = [&](std::size_t at) {
      return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0);
    };
    const auto is_hex = [&](std::size_t at) {
      return at < text.size() && (std::isxdigit(static_cast<unsigned char>(text[at])) != 0);
    };
    const bool hex_prefix = text[i] == '0' && i + 1 < text.size() && text[i + 1] == 'x';
    if (text[i] == '/' && is_word(i + 1)) {  // a path: fold to its end
      while (i < text.size() && text[i] != ' ' && text[i] != ':' && text[i] != ',' && text[i] != '\'' && text[i] != '"')
        ++i;
      out += "<path>";
    } else if (hex_prefix) {
      i += 2;
      while (is_hex(i)) ++i;
      out += "N";
    } else if (std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0) ++i;
      out += "N";
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::string fingerprint_of(const std::string& detector, const std::string& process, const std::string& kind,
                           const std::string& text) {
  const std::string hash = base::content_hash(detector + '\n' + process + '\n' + kind + '\n' + normalise_text(text));
  return detector + "-" + hash.substr(0, 12);
}

base::Json to_json(const GatePolicy& policy) {
  base::Json severity = base::Json::object();
  for (const auto& [name, value] : policy.severity) severity[name] = to_string(value);
  base::Json waives = base::Json::array();
  for (const Waive& waive : policy.waives) {
    waives.push_back({{"detector", waive.detector},
                      {"device", waive.device},
                      {"from", waive.from},
                      {"to", waive.to},
                      {"kind", waive.kind},
                      {"process", waive.process},
                      {"restart", waive.restart},
                      {"reason", waive.reason}});
  }
  return {
      {"severity", severity}, {"limits", policy.limits}, {"waive", waives}, {"report_benign", policy.report_benign}};
}

base::Result<GatePolicy> gate_policy_from_json(const base::Json& json) {
  GatePolicy policy;
  if (!json.is_object()) return wrong_field("gate");
  const base::Json severity = base::json_get(json, "severity", base::Json::object());
  for (const auto& [name, value] : severity.items()) {
    if (!value.is_string()) return wrong_field("gate severity");
    MIGSOAK_ASSIGN(policy.severity[name], severity_from(value.get<std::string>()));
  }
  const base::Json limits = base::json_get(json, "limits", base::Json::object());
  for (const auto& [name, value] : limits.items()) {
    if (!value.is_number()) return wrong_field("gate limit");
    policy.limits[name] = value.get<double>();
  }
  const base::Json waives = base::json_get(json, "waive", base::Json::array());
  for (const base::Json& item : waives) {
    Waive waive;
    if (!item.is_object() || !read_field(item, "detector", waive.detector) ||
        !read_field(item, "device", waive.device) || !read_field(item, "from", waive.from) ||
        !read_field(item, "to", waive.to) || !read_field(item, "kind", waive.kind) ||
        !read_field(item, "process", waive.process) || !read_field(item, "reason", waive.reason)) {
      return wrong_field("gate waive");
    }
    waive.restart = base::json_get<std::string>(item, "restart", "");  // older records have none
    policy.waives.push_back(waive);
  }
  const base::Json benign = base::json_get(json, "report_benign", base::Json::array());
  for (const base::Json& item : benign) {
    if (!item.is_string()) return wrong_field("gate report_benign");
    policy.report_benign.push_back(item.get<std::string>());
  }
  return policy;
}

}  // namespace migsoak::record
