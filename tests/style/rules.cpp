#include "rules.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace migsoak::style {

namespace {

// One file with what several rules want to know about it.
struct View {
  const SourceFile& file;
  std::string code;  // C and C++: without what follows `//`; else the text as it is
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Number, from 1, of the line that `offset` lies in.
int line_at(std::string_view text, std::size_t offset) {
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

// Line by line, and no more than that: what stands in a literal is taken for code. Lines keep their numbers.
std::string without_comments(std::string_view text) {
  std::string code;
  for (const std::string_view line : lines_of(text)) {
    code += line.starts_with("//") ? "" : line.substr(0, line.find(" //"));
    code += '\n';
  }
  return code;
}

using Offences = std::vector<Offence>;
using Rule = void (*)(const View&, const Config&, Offences&);

std::string extension(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos || path.find('/', dot) != std::string::npos ? "" : path.substr(dot);
}
bool is_cxx(const std::string& path) {
  static const std::set<std::string> extensions = {".cpp", ".h", ".c", ".def"};
  return extensions.contains(extension(path));
}
bool in_harness(const std::string& path) {
  return path.starts_with("harness/");
}

void each_match(const std::string& text, const std::regex& pattern,
                const std::function<void(const std::smatch&, int)>& found) {
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern); it != std::sregex_iterator(); ++it) {
    found(*it, line_at(text, static_cast<std::size_t>(it->position())));
  }
}

// The room a path under harness/ (or an include) lies in: the longest name of the table that is its prefix.
std::string room_of(const std::string& path, const Config& config) {
  std::string best;
  for (const auto& [room, allowed] : config.rooms) {
    if (path.starts_with(room + "/") && room.size() > best.size()) best = room;
  }
  return best;
}

void room_order(const View& view, const Config& config, Offences& out) {
  const std::string& path = view.file.path;
  if (!in_harness(path) || !is_cxx(path)) return;
  const std::string room = room_of(path.substr(8), config);
  if (room.empty()) return out.push_back({"room-order", path, 0, "", "lies in no room of tests/style/rules.txt"});
  static const std::regex include(R"re(^\s*#\s*include\s+"([^"]+)")re");
  int number = 0;
  for (const std::string_view line : lines_of(view.file.text)) {
    ++number;
    const std::string text(line);
    std::smatch match;
    if (!std::regex_search(text, match, include)) continue;
    const std::string included = match[1].str();
    const std::string other = room_of(included, config);
    if (other == room || config.rooms.at(room).contains(other)) continue;
    out.push_back({"room-order", path, number, "",
                   other.empty() ? "include \"" + included + "\" names no room (write \"room/file.h\")"
                                 : "room " + room + " may not include " + other});
  }
}

// The link order of harness/CMakeLists.txt: migsoak_room(name DEPS a b LIBS c) obeys the same table.
void room_links(const View& view, const Config& config, Offences& out) {
  if (view.file.path != "harness/CMakeLists.txt") return;
  static const std::regex room_call(R"(\nmigsoak_room\(([^)]*)\))");
  each_match(view.file.text, room_call, [&](const std::smatch& match, int line) {
    std::istringstream words(match[1].str());
    std::string room;
    std::string word;
    words >> room;
    bool dependencies = false;
    while (words >> word) {
      if (word == "DEPS" || word == "LIBS") {
        dependencies = word == "DEPS";
      } else if (dependencies && (!config.rooms.contains(room) || !config.rooms.at(room).contains(word))) {
        out.push_back({"room-links", view.file.path, line + 1, "", "room " + room + " may not link " + word});
      }
    }
  });
}

// What has to be held in mind at once. Declarations at a class's own indentation, private ones too.
void class_methods(const View& view, const Config& config, Offences& out) {
  if (extension(view.file.path) != ".h") return;
  static const std::regex opens(R"(^(class|struct)\s+(\[\[.*\]\]\s*)?(\w+)[^;]*\{\s*$)");
  static const std::regex method(R"(^  [\w\[~][^=()]*\(.*$)");
  const int most = config.limits.at("class_methods");
  std::string name;
  int number = 0, first = 0, methods = 0;
  for (const std::string_view line : lines_of(view.code)) {
    ++number;
    const std::string text(line);
    std::smatch match;
    if (std::regex_match(text, match, opens)) {
      name = match[3].str();
      first = number;
      methods = 0;
    } else if (!name.empty() && text.starts_with("};")) {
      if (methods > most) {
        out.push_back({"class-methods", view.file.path, first, name,
                       name + " has " + std::to_string(methods) + " methods, more than " + std::to_string(most)});
      }
      name.clear();
    } else if (!name.empty() && std::regex_match(text, method)) {
      ++methods;
    }
  }
}

void vague_name(const View& view, const Config& config, Offences& out) {
  std::string word;
  for (const char c : view.file.path + "/") {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      continue;
    }
    if (config.forbidden_words.contains(word)) {
      out.push_back({"vague-name", view.file.path, 0, "", "'" + word + "' says nothing about what is in it"});
    }
    word.clear();
  }
}

void top_level(const View& view, const Config& config, Offences& out) {
  const std::string top = view.file.path.substr(0, view.file.path.find('/'));
  if (top.starts_with('.') || config.top_names.contains(top)) return;
  out.push_back({"top-level", view.file.path, 0, "", "'" + top + "' is not one of the names at the top"});
}

void no_sleep(const View& view, const Config& /*config*/, Offences& out) {
  if (!in_harness(view.file.path) || !is_cxx(view.file.path)) return;
  // A poll of nothing is a sleep by another name.
  static const std::regex call(
      R"(\b(sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep|sleep|p?poll(?=\s*\(\s*nullptr\b))\s*\()");
  each_match(view.code, call, [&](const std::smatch& match, int line) {
    out.push_back({"no-sleep", view.file.path, line, "", match[1].str() + ": wait on a condition with a Deadline"});
  });
}

void no_detach(const View& view, const Config& /*config*/, Offences& out) {
  if (!in_harness(view.file.path) || !is_cxx(view.file.path)) return;
  static const std::regex call(R"((\.|->)detach\s*\(\s*\))");
  each_match(view.code, call, [&](const std::smatch&, int line) {
    out.push_back({"no-detach", view.file.path, line, "", "what is detached is never joined nor reaped"});
  });
}

void no_spawn(const View& view, const Config& /*config*/, Offences& out) {
  const std::string& path = view.file.path;
  if (!in_harness(path)) return;
  // How it is done, drivers, kinds of targets, and whoever asks a build what it is.
  for (const char* room : {"harness/proc/", "harness/hypervisor/", "harness/target/", "harness/fleet/"}) {
    if (path.starts_with(room)) return;
  }
  static const std::regex name(R"(\b(ChildProcess::spawn|SpawnSpec|run_command)\b)");
  each_match(view.code, name, [&](const std::smatch& match, int line) {
    out.push_back({"no-spawn", path, line, "", match[1].str() + ": a driver or a kind of target starts processes"});
  });
}

// Each form of the report shows the model, and reads nothing for itself.
void render_apart(const View& view, const Config& /*config*/, Offences& out) {
  if (!view.file.path.starts_with("harness/report/") || !is_cxx(view.file.path)) return;
  static const std::regex shows(R"re(#include "report/render\.h")re"), reads(R"re(#include "store/[^"]*")re");
  if (extension(view.file.path) == ".h" || !std::regex_search(view.code, shows)) return;
  each_match(view.code, reads, [&](const std::smatch& match, int line) {
    out.push_back({"render-apart", view.file.path, line, "", match[0].str() + ": what is shown comes from the model"});
  });
}

void machine_path(const View& view, const Config& /*config*/, Offences& out) {
  // Written in pieces, or this file would offend.
  static const std::regex path(
      "(^|[^\\w.~/$})-])(/"
      "work/|/tmp/"
      "build)");
  each_match(view.file.text, path, [&](const std::smatch& match, int line) {
    const int extra = match[1].str() == "\n" ? 1 : 0;
    out.push_back({"machine-path", view.file.path, line + extra, "", "a path of one machine: " + match[2].str()});
  });
}

void open_work(const View& view, const Config& /*config*/, Offences& out) {
  static const std::regex mark(
      "\\b(TO"
      "DO|FIX"
      "ME)\\b");
  each_match(view.file.text, mark, [&](const std::smatch& match, int line) {
    out.push_back({"open-work", view.file.path, line, "", match[1].str() + ": do it, or write an issue"});
  });
}

void silent_skip(const View& view, const Config& /*config*/, Offences& out) {
  if (!is_cxx(view.file.path)) return;
  static const std::regex skip(R"(\bGTEST_SKIP\s*\(\s*\)(?!\s*<<))");
  each_match(view.code, skip, [&](const std::smatch&, int line) {
    out.push_back({"silent-skip", view.file.path, line, "", "a skip says why: GTEST_SKIP() << reason"});
  });
}

void header_form(const View& view, const Config& /*config*/, Offences& out) {
  if (extension(view.file.path) != ".h") return;
  if (!view.file.text.starts_with("//") && !view.file.text.starts_with("/*")) {
    out.push_back({"header-form", view.file.path, 1, "", "a header begins with a comment that says what it is for"});
  }
  static const std::regex once(R"((^|\n)#pragma once\b)");
  if (!std::regex_search(view.code, once)) {
    out.push_back({"header-form", view.file.path, 0, "", "no #pragma once"});
  }
}

struct NamedRule {
  const char* name;
  Rule rule;
};
constexpr std::array kRules = {
    NamedRule{"room-order", room_order},       NamedRule{"room-links", room_links},
    NamedRule{"class-methods", class_methods}, NamedRule{"vague-name", vague_name},
    NamedRule{"top-level", top_level},         NamedRule{"no-sleep", no_sleep},
    NamedRule{"no-detach", no_detach},         NamedRule{"machine-path", machine_path},
    NamedRule{"open-work", open_work},         NamedRule{"silent-skip", silent_skip},
    NamedRule{"header-form", header_form},     NamedRule{"no-spawn", no_spawn},
    NamedRule{"render-apart", render_apart},
};

void sort(Offences& offences) {
  std::sort(offences.begin(), offences.end(), [](const Offence& a, const Offence& b) {
    return std::tie(a.path, a.line, a.rule, a.message) < std::tie(b.path, b.line, b.rule, b.message);
  });
}

}  // namespace

std::string Offence::describe() const {
  const std::string place = line > 0 ? path + ":" + std::to_string(line) : path;
  return place + ": " + rule + ": " + message;
}

Offences check(const Tree& tree, const Config& config) {
  Offences out;
  for (const SourceFile& file : tree) {
    const View view{file, is_cxx(file.path) ? without_comments(file.text) : file.text};
    for (const NamedRule& entry : kRules) entry.rule(view, config, out);
  }
  sort(out);
  return out;
}

Offences without_exceptions(Offences offences, const std::vector<Exception>& exceptions) {
  for (const Exception& exception : exceptions) {
    const auto excepted = [&](const Offence& offence) {
      return offence.rule == exception.rule && offence.path == exception.path &&
             (exception.name.empty() || offence.name == exception.name);
    };
    if (std::erase_if(offences, excepted) > 0) continue;
    offences.push_back({"stale-exception", exception.path, 0, exception.name,
                        "nothing offends against " + exception.rule + " here any more: drop the exception"});
  }
  sort(offences);
  return offences;
}

std::vector<std::string> rule_names() {
  std::vector<std::string> names;
  for (const NamedRule& entry : kRules) names.emplace_back(entry.name);
  return names;
}

Config parse_config(std::string_view text, Offences& offences) {
  Config config;
  int number = 0;
  for (const std::string_view line : lines_of(text)) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words{std::string(line)};
    std::string key;
    std::string name;
    words >> key >> name;
    if (key == "room" && name.ends_with(':')) {
      name.pop_back();
      auto& allowed = config.rooms[name];
      for (std::string other; words >> other;) {
        if (!config.rooms.contains(other)) {
          offences.push_back({"config", "rules.txt", number, "", "room " + other + " is not to the left of " + name});
        }
        allowed.insert(other);
      }
    } else if (int value = 0; key == "limit" && words >> value) {
      config.limits[name] = value;
    } else if (key == "top") {
      config.top_names.insert(name);
    } else if (key == "word") {
      config.forbidden_words.insert(name);
    } else {
      offences.push_back({"config", "rules.txt", number, "", "not understood: " + std::string(line)});
    }
  }
  return config;
}

std::vector<Exception> parse_exceptions(std::string_view text, Offences& offences) {
  std::vector<Exception> exceptions;
  int number = 0;
  for (const std::string_view line : lines_of(text)) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const std::size_t hash = line.find(" # ");
    std::istringstream words{std::string(line.substr(0, hash))};
    Exception exception;
    words >> exception.rule >> exception.path >> exception.name;
    if (hash != std::string_view::npos) exception.reason = line.substr(hash + 3);
    if (exception.path.empty() || exception.reason.empty()) {
      offences.push_back({"config", "exceptions.txt", number, "", "wants: RULE PATH [NAME] # reason"});
    } else {
      exceptions.push_back(exception);
    }
  }
  return exceptions;
}

}  // namespace migsoak::style
