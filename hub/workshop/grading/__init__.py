"""The quality scale for plugins: rules that are proved, not ticked off; after Home Assistant's, where few of them are checked by code.

subject: what is graded (the class, its package, its README, its own tests' results); rules: every rule with its reason; grade: the
tier a plugin reaches, as a report beside its package, which holds only as long as the package's files are the graded ones.
Called by `hub plugin grade`, and, for the tier, by the roster.
"""

from hub.workshop.grading.grade import Grade, Verdict, grade, tier_of, write_report
from hub.workshop.grading.rules import RULES, Rule, Tier
from hub.workshop.grading.subject import Proof, Subject, prove, subject_of

__all__ = [
    "RULES",
    "Grade",
    "Proof",
    "Rule",
    "Subject",
    "Tier",
    "Verdict",
    "grade",
    "prove",
    "subject_of",
    "tier_of",
    "write_report",
]
