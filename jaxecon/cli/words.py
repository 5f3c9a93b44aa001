"""Names of policies, diagnostics and statuses as people read them."""

SIMULATED = "simulated"  # the engine that is no language model


POLICIES = {
    "us_federal": "US federal",
    "flat": "best flat",
    "saez": "Saez",
    "saez_self_consistent": "Saez, fixed point",
    "optimum": "optimum",
    "uniform_50": "50 % everywhere",
    "final": "planner",
}

SIGNATURES = {
    "oscillating_rates": "oscillating rates",
    "welfare_collapse": "welfare collapse",
    "homogeneous_labor": "homogeneous labour",
    "fallback_rate": "many fallbacks",
}

STATUSES = ("ok", "repaired", "retried", "fallback")
