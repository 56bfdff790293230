"""What a look tells, in words for a person: one line while it goes on, some at the end."""

from typing import Any

from protocols.live.dose import Dose
from protocols.live.rings import Rings, names


def line_of(told: dict[str, Any]) -> str:
    """One line: after how many degrees, which cell, how good; or why there is none."""
    begin = f"{told['deg']:6.1f} deg: "
    shadow = f", {dark:.0f} deg in a shadow" if (dark := _sum_deg(told, "shadowed_deg")) else ""
    shadow += f", {gone:.0f} deg beside the beam" if (gone := _sum_deg(told, "absent_deg")) else ""
    if not told["determined"]:
        return f"{begin}no cell yet: {'; '.join(told['reasons'])}{shadow}"
    a, b, c, *angles = told["cell"]
    phases = f" ({', '.join(told['phases'])})" if told["phases"] else ""
    parts = [
        f"{told['bravais'] or 'type not known yet,'} {a:.3f} {b:.3f} {c:.3f} A "
        f"{' '.join(f'{x:.2f}' for x in angles)} deg{phases}",
        f"{told['indexed']:.0%} of {told['reflections']} reflections",
    ]
    if told["lattices"] > 1:
        parts.append(f"{told['lattices']} lattices")
    if told["resolution_A"] is not None:
        parts.append(f"{told['resolution_A']:.2f} A")
    parts.append(f"{told['completeness']:.0%} complete")
    damage = told.get("damage")
    if damage is not None and damage["verdict"] == "damage":
        parts.append(f"the beam has taken {damage['lost']:.0%} of the outer shell")
    if damage is not None and damage["verdict"] == "leaves the beam":
        parts.append(f"it leaves the beam: {damage['fallen']:.0%} weaker")
    return begin + ", ".join(parts) + shadow


def _sum_deg(told: dict[str, Any], name: str) -> float:
    """Of the rotation so far, in which something stood in the beam, or the crystal beside it."""
    return float(sum(abs(end - begin) for begin, end in told.get(name, ())))


def summary_of(told: dict[str, Any], dose: Dose | None = None) -> list[str]:
    """What is known at the end, each as one line: uncertainties, crystal, damage, geometry, how to go on.

    dose: what is known of the beam.
    """
    rings = list(names(Rings(tuple(told.get("rings_A", ())), bool(told.get("ice")))))
    for begin, end in told.get("shadowed_deg", ()):
        rings.append(f"in a shadow from {begin:.1f} to {end:.1f} deg: nothing is measured there")
    for begin, end in told.get("absent_deg", ()):
        rings.append(f"the crystal was not in the beam from {begin:.1f} to {end:.1f} deg: nothing is measured there")
    if not told["determined"]:
        return [f"not determined: {'; '.join(told['reasons'])}", *rings]
    names_of = ("a", "b", "c", "alpha", "beta", "gamma")
    sigma = told["cell_sigma"]
    numbers = [
        f"{name} {value:.4f} +- {error:.4f}" if error else f"{name} {value:g}"
        for name, value, error in zip(names_of, told["cell"], sigma, strict=True)
    ]
    lines = [
        f"cell: {', '.join(numbers)}",
        f"of the lengths {told['camera_length_sigma']:.2%} are the camera length's, which is in all of them alike",
        "Bravais types that the numbers allow: "
        + ", ".join(f"{each['symbol']} (chance {each['chance']:.2g})" for each in told["bravais_candidates"]),
    ]
    if (second := told["second"]) is not None:
        what = "the same cell, turned" if second["same_cell"] else f"another cell, {second['cell']}"
        lines.append(f"second lattice: {second['share']:.0%} of the reflections, {what}")
    lines += [_mosaicity(told["mosaicity"]), _damage(told["damage"], dose or Dose()), *rings]
    lines += [f"geometry: {words}" for words in told["geometry"]["off"]]
    more = told["completeness_after"]
    if more:
        after = ", ".join(f"{degrees} more deg {share:.0%}" for degrees, share in more.items())
        lines.append(f"complete to {told['completeness']:.0%} in the Laue class of the lattice; {after}")
    if (best := told["completeness_best"]) is not None:
        lines.append(f"as many degrees from {best['start_deg']:g} deg on would have made {best['completeness']:.0%}")
    return lines


def _mosaicity(told: dict[str, Any] | None) -> str:
    if told is None:
        return "mosaicity: not known, for too few strong reflections are whole"
    if "deg" in told:
        return f"mosaicity: {told['deg']:.3f} +- {told['sigma_deg']:.3f} deg"
    return f"mosaicity: at most {told['at_most_deg']:.3f} deg"


def _damage(told: dict[str, Any] | None, dose: Dose) -> str:
    begin = "damage by the beam:"
    if told is None:
        return f"{begin} too few reflections tell it"
    if told["verdict"] == "none":
        return f"{begin} none seen; the outer shell has lost {told['lost_at_most']:.0%} at most"
    if told["verdict"] == "leaves the beam":
        return f"{begin} none seen; all reflections are {told['fallen']:.0%} weaker alike: the crystal leaves the beam"
    if told["verdict"] == "cannot tell":
        return f"{begin} cannot be told"
    half = told["half_deg"]
    parts = ["half of all intensity is lost after " + dose.after(half) if half else "how fast is not known yet"]
    parts += [
        f"of {each['from_A']:.2f} to {each['to_A']:.2f} A after {dose.after(each['half_deg'])}"
        for each in told["shells"]
        if each["half_deg"]
    ]
    return f"{begin} {'; '.join(parts)}; so far the outer shell has lost {told['lost']:.0%} +- {told['lost_sigma']:.0%}"
