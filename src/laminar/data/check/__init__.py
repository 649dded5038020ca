"""The check of a data set: what is in it, what is broken, leaked, twice there, or no measurement."""

from laminar.data.check.index import INDEX, Read, check_folder
from laminar.data.check.report import Finding, Report, report_on
from laminar.data.check.suspicions import suspicions

__all__ = ["INDEX", "Finding", "Read", "Report", "check_folder", "report_on", "suspicions"]
