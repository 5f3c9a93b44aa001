"""Workers who elect a leader, or keep or dismiss a planner."""
