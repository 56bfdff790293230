"""Which crystals are alone, as the paper has it: 1.5 um from the next thing, 0.5 um from the edge of the field."""

ISOLATED_NM, BORDER_NM = 1500.0, 500.0


def is_isolated(
    neighbour_nm: float, border_nm: float, isolated_nm: float = ISOLATED_NM, least_border_nm: float = BORDER_NM
) -> bool:
    """neighbour_nm: from edge to edge to the nearest other thing. border_nm: from its edge to what ends the field."""
    return neighbour_nm >= isolated_nm and border_nm >= least_border_nm
