// What an init has to do before it can be an agent: file systems, kernel modules, a console to complain on.
#pragma once

#include <string>

namespace migsoak::agent {

// Mounts /proc, /sys and /dev and puts descriptors 0, 1, 2 on the console.
void mount_file_systems();
// Loads the modules that /lib/modules/order names, in that order.
void load_modules();
// Loads one of them, unless it is loaded already.
void load_module(const std::string& name);
// "agent: ..." on the console.
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
// "agent: fatal: ..." on the console; never returns, because the kernel panics when init ends.
[[noreturn]] void fatal(const char* format, ...) __attribute__((format(printf, 1, 2)));
// The value of `key` on the kernel's command line, or `fallback`.
long command_line_number(const char* key, long fallback);
// Whole content of a small (sysfs, procfs) file without trailing white space; empty when it can't be read.
std::string read_text(const std::string& path);

}  // namespace migsoak::agent
