"""Claims of *LLM Economist* (arXiv 2507.15815) that docs/reproduction.md tests, in its order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """What the paper says, or what its choices imply.

    name: that of the function in judging.py that judges it. text: the claim. paper: what the paper
    reports about it. needs: experiments whose tables it is judged by.
    """

    name: str
    text: str
    paper: str
    needs: tuple[str, ...]


CLAIMS = (
    Claim(
        "gains",
        "An AI planner raises welfare by about 100 % over the US federal schedule.",
        "93 % to 114 %, welfare being the sum of utility over realised income.",
        ("units", "baselines"),
    ),
    Claim(
        "settling",
        "Workers need a tax year of about 128 days to settle.",
        "The derivative of utility falls to noise by about day 120.",
        ("tax_year",),
    ),
    Claim(
        "long_years",
        "Long years steady the planner; short ones make it oscillate and cost welfare.",
        "K = 128 is chosen for it.",
        ("tax_year",),
    ),
    Claim(
        "exploitation",
        "Leaving out the exploitation cue costs more than leaving out exploration.",
        "One run each.",
        ("planner_prompt",),
    ),
    Claim(
        "size_of_exploitation",
        "It costs about 22 points.",
        "22 points.",
        ("units",),
    ),
    Claim(
        "interactions",
        "Ingredients of the prompt and how they work together.",
        "Single ablations, no factorial, no tests of significance.",
        ("planner_prompt",),
    ),
    Claim(
        "saez",
        "The planner keeps up with Saez's formula, the economist's baseline.",
        "Saez with an elasticity of 0.4 (Saez 2002), or one by income group.",
        ("baselines",),
    ),
    Claim(
        "elasticity",
        "An elasticity of 0.4 describes the workers.",
        "Taken from the literature.",
        ("empirical_saez",),
    ),
    Claim(
        "hours_at_the_cap",
        "(Of its units, not claimed:) weekly disutility against annual income leaves nearly "
        "everybody at the cap of 100 hours.",
        "Not mentioned.",
        ("units",),
    ),
    Claim(
        "steps_of_ten",
        "(Of its choices, not claimed:) hours in steps of ten let a planner gain more than any "
        "schedule could otherwise.",
        "Workers choose among 0, 10, .., 100 hours.",
        ("hours",),
    ),
    Claim(
        "satisfaction",
        "Dissatisfaction halves utility.",
        "A penalty that the model's own answers decide.",
        ("satisfaction",),
    ),
    Claim(
        "other_objectives",
        "Altruistic workers raise welfare, adversarial ones lower it.",
        "Kinds of agents are introduced, shares are not studied.",
        ("population_mix",),
    ),
    Claim(
        "language_models",
        "100 workers and a planner that are Llama-3.1-8B.",
        "The setting of all its figures.",
        ("planner_prompt",),
    ),
    Claim(
        "majorities",
        "With three voters a majority exploits the minority.",
        "The minority's utility is 25 % lower.",
        ("voting",),
    ),
    Claim(
        "turnover",
        "Turnover of leaders raises welfare.",
        "Reported with persona voting.",
        ("voting",),
    ),
)


def number_of(name: str) -> int:
    """A claim's number on the page, from 1."""
    return 1 + [claim.name for claim in CLAIMS].index(name)
