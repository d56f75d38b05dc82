"""Amounts as messages show them, and as users paste them."""


def shown(amount: int) -> str:
    """Bytes for people: ``24.0 GiB``, ``51 MiB``."""
    return f"{amount / (1 << 30):.1f} GiB" if amount >= 1 << 30 else f"{amount >> 20} MiB"


def pasted(amount: int) -> str:
    """Bytes as a value, rounded down to whole MiB: ``1638MiB``."""
    return f"{amount >> 20}MiB"


def counted(number: int, noun: str) -> str:
    """``1 GPU``, ``2 GPUs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
