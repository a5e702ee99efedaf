#include "base/text.h"
// #include "detect/judge.h" is only a comment here
#include "detect/judge.h"
