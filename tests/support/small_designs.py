"""Experiments on few and small economies."""

import copy

from experiments.suite.registry import load_designs


def small_designs(name, *, llm=False, seeds=5, **run):
    """An experiment's quick designs with few and small economies."""
    tree = load_designs(name, "quick")
    for design in tree["mechanical"].values():
        design["run"] |= {"years": 3, "year": {"days": 4}, **copy.deepcopy(run)}
        for cohort in design["run"]["population"]["cohorts"]:
            cohort["size"] = min(cohort["size"], 30)
        if "seeds" in design:
            design["seeds"] = seeds
    if not llm:
        tree["llm"] = {}
    return tree


def table_of(report, name):
    return next(table for table in report.tables if table.name == name)


def row_of(table, **keys):
    (match,) = (row for row in table.rows if all(row[key] == value for key, value in keys.items()))
    return match
