"""Every kind of decision by name.

The names are those of `jaxecon.config.names.DECISIONS`. A new kind is one file like its neighbours,
one line here, and one line with its words there.
"""

from typing import Any

from llm.decisions.base import DecisionKind
from llm.decisions.candidacy import Candidacy
from llm.decisions.labor import Labor
from llm.decisions.persona import DescribePersona
from llm.decisions.plan import Plan
from llm.decisions.policy import Policy
from llm.decisions.satisfaction import Satisfaction
from llm.decisions.survey import AnswerQuestion
from llm.decisions.vote import Vote

# A planner and an elected worker are asked for the same thing in different words: both decisions
# are recorded as "plan". A question of a survey is recorded as "survey:" and its name.
KINDS: dict[str, tuple[DecisionKind[Any, Any], ...]] = {
    "labor": (Labor(),),
    "satisfaction": (Satisfaction(),),
    "plan": (Plan(), Policy()),
    "persona": (DescribePersona(),),
    "candidacy": (Candidacy(),),
    "vote": (Vote(),),
    "survey": (AnswerQuestion(),),
}
