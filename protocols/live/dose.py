"""How much of the beam a crystal has had after so much rotation, in the words that can be found for it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dose:
    """What is known of the beam. s_per_deg: seconds of beam for a degree of rotation, snapshots included, for the beam
    is on between frames as well; flux_e_A2_s: electrons per A^2 and s on the crystal; None where nobody knows.
    """

    s_per_deg: float | None = None
    flux_e_A2_s: float | None = None

    def after(self, deg: float) -> str:
        """`34.1 deg`, `34.1 deg (76 s of beam)`, or `34.1 deg (4.3 electrons per A^2)`."""
        words = f"{deg:.1f} deg"
        if self.s_per_deg is None:
            return words
        beam_s = deg * self.s_per_deg
        if self.flux_e_A2_s is None:
            return f"{words} ({beam_s:.0f} s of beam)"
        return f"{words} ({beam_s * self.flux_e_A2_s:.3g} electrons per A^2)"
