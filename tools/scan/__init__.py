"""The scan before publishing: what in a tool's manifest would deceive a model or the people who trust the tool.

The rules are data, rules.yaml, with their hits and misses; what a pattern cannot see is a check in code. Pure.
"""

from tools.scan.draft import findings
from tools.scan.engine import scan, stopping
from tools.scan.values import Finding, Level, Scanned

__all__ = ["Finding", "Level", "Scanned", "findings", "scan", "stopping"]
