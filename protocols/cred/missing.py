"""Which slots of a run hold no frame, and why each of them: nothing is missing without a reason."""

from collections.abc import Collection, Mapping

NO_WORD = "nothing is left of it, neither a frame nor a word in the trace"


def missing_slots(
    frames: Collection[int],
    snapshots: Collection[int],
    reasons: Mapping[int, str],
    snapshot_slots: int | None,
) -> dict[int, str]:
    """The slots up to the last of which anything is known that hold neither a frame nor a snapshot, with the reason.

    snapshots: slots at which a picture of the crystal was taken; the cycle takes `snapshot_slots`, or, where that is
    not known, all until the next frame, and those slots are not missing. reasons: of the slots that are known by name.
    """
    held = {*frames, *snapshots}
    missing: dict[int, str] = {}
    cycle_end = 0
    for slot in range(1, max(held | set(reasons), default=0) + 1):
        if slot in snapshots:
            cycle_end = slot + snapshot_slots if snapshot_slots is not None else 2**62
        if slot in frames:
            cycle_end = 0
        if slot in held or (slot < cycle_end and slot not in reasons):
            continue
        missing[slot] = reasons.get(slot, NO_WORD)
    return missing
