"""With which releases of torch the harness is tested."""

from __future__ import annotations

from typing import Final

TESTED: Final = "2.13"
"""The release of torch that the tests run on; it is also the lowest."""


def untested(torch: str) -> tuple[str, ...]:
    """Return what to say of a version of torch; nothing of the tested release."""
    if not torch or torch.startswith(f"{TESTED}."):
        return ()
    return (f"torch {torch} is another release than {TESTED}, with which harness is tested",)
