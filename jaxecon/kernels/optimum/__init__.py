"""The planner's optimum: the problem, the search, the certificate, and Saez's formulas."""
