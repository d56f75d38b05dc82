"""Every layer that speaks of one variable, the winner first."""

from collections.abc import Sequence

from mgelaunch.environment.layers import Demand
from mgelaunch.environment.resolve import Setting
from mgelaunch.environment.source import Assignment
from mgelaunch.finding import Finding
from mgelaunch.report.table import columns
from mgelaunch.report.text import shown


def explanation(name: str, setting: Setting | None, findings: Sequence[Finding], demands: Sequence[Demand] = ()) -> str:
    """What the job gets for `name`, who says so, and who was beaten."""
    if setting is None and any(finding.severity == "error" and name in finding.names for finding in findings):
        return f"{name} stands on a line that cannot be read"
    if setting is None:
        return f"{name} is set by no layer, so the job does not have it"
    wrong = setting.wrong or any(finding.severity == "error" for finding in findings if name in finding.names)
    value = "(wrong)" if setting.wrong else shown(setting.text, secret=setting.secret)
    outcome = f"{name} = {value}" if setting.text is not None or setting.wrong else f"{name} is removed"
    base = f"  ({setting.base})" if setting.base else ""
    rows = [_row("set by", setting.winner, setting, hidden=wrong)]
    rows += [_row("beats", loser, setting, hidden=False) for loser in setting.beaten]
    rows += [("", "required", demand.where, demand.place, demand.message) for demand in demands]
    default = setting.variable.default if setting.variable else None
    if default is not None:
        rows.append(("", "default", "the framework", "", default))
    return "\n".join([outcome + base, *columns(rows)])


def _row(verb: str, assignment: Assignment, setting: Setting, *, hidden: bool) -> tuple[str, ...]:
    secret = setting.secret or assignment.secret
    said = "(wrong)" if hidden else "unset" if assignment.text is None else shown(assignment.text, secret=secret)
    place = assignment.place if assignment.place != assignment.where else ""
    return "", verb, assignment.where, place, said
