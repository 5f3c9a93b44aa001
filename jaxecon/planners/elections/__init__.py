"""Workers who elect a leader, or keep and dismiss a planner."""
