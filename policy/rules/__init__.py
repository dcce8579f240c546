"""Rules as they are written (Spec), and compiled for deciding (Rules)."""

from policy.rules.compiled import NO_RULES, Rules, compiled
from policy.rules.spec import Spec, problems, read
from policy.rules.written import from_yaml, in_order, to_yaml

__all__ = ["NO_RULES", "Rules", "Spec", "compiled", "from_yaml", "in_order", "problems", "read", "to_yaml"]
