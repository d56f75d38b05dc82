"""What a supervisor says to its user while the job runs, between the lines of the ranks."""

from collections.abc import Callable

from mgelaunch.host.amounts import counted
from mgelaunch.launch.descriptors import may_write
from mgelaunch.launch.events import Cause, Forsake, Notice
from mgelaunch.launch.job import how, ranks_shown
from mgelaunch.launch.pump import Pump

_LEFT = "rank.left"
_LINGERED = "rendezvous.left"


class Voice:
    """Speaks through the `pump`, or by `say` where that does not order our stderr."""

    def __init__(self, pump: Pump | None, say: Callable[[str], None]) -> None:
        self._pump = pump
        self._say = say
        self._warned = False

    def tell(self, text: str) -> None:
        """Nobody waits for a terminal that takes nothing."""
        if not (self._pump and self._pump.say(text)) and may_write(2):
            self._say(text)

    def say(self, action: Notice | Forsake) -> None:
        """Whom the job waits for, or does no longer."""
        self.tell(f"mgelaunch: {_waiting(action) if isinstance(action, Notice) else _forsaken(action)}")

    def restart(self, cause: Cause, left: int) -> None:
        """All ranks are started again; `left` times more it could be done."""
        why = f"rank {cause.rank} {how(cause.exit)}"
        self.tell(f"mgelaunch: {why}; all ranks are started again ({counted(left, 'restart')} left)")

    def only_logs(self, lost: OSError) -> None:
        """Our own output takes nothing any more, which is said once."""
        if not self._warned:
            self._warned = True
            why = f"the output cannot be shown any more ({lost.strerror}); the logs have it"
            self.tell(f"mgelaunch: warning: {why}")


def _waiting(notice: Notice) -> str:
    who = ranks_shown(notice.ranks) if notice.ranks else "what the ranks left behind"
    if notice.left < 0:
        return f"error: {who} cannot be ended, by this user or on this kernel, and is given up [{_LEFT}]"
    return f"waiting for {who} to end; killed in {notice.left:.0f} s, or at once by Ctrl-C"


def _forsaken(forsake: Forsake) -> str:
    late = f"the ranks on other hosts have not ended within {forsake.seconds:g} s of those here"
    return f"warning: {late}; MegEngine's server stays for them no longer [{_LINGERED}]"
