#include "report/render.h"
#include "base/text.h"
#include "store/store.h"
