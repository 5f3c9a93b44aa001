"""Language models as workers, planners and voters."""
