#include "record/plan.h"

#include "record/json_fields.h"

namespace migsoak::record {

base::Json to_json(const Plan& plan) {
  return {{"iteration", plan.iteration},
          {"source", plan.source_side},
          {"destination", plan.destination_side},
          {"mode", plan.mode},
          {"transport", plan.transport}};
}

base::Result<Plan> plan_from_json(const base::Json& json) {
  Plan plan;
  if (!json.is_object() || !read_field(json, "iteration", plan.iteration) ||
      !read_field(json, "source", plan.source_side) || !read_field(json, "destination", plan.destination_side) ||
      !read_field(json, "mode", plan.mode) || !read_field(json, "transport", plan.transport)) {
    return wrong_field("plan");
  }
  return plan;
}

}  // namespace migsoak::record
