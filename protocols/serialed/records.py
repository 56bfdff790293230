"""The kinds of frames of a serial run and their columns, and the notes in which its trace tells of fields and beam."""

from engine.record.framekinds import Column, FrameKind

IMAGE = FrameKind(
    "image",
    arrival=(
        Column("field", "<i4", "number of the field, from 1 in the order of the raster"),
        Column("x_nm", "<f8", "place of the stage, as read when it stood, or as asked for"),
        Column("y_nm", "<f8", "the same along y"),
        Column("nm_per_px", "<f8", "nm of the specimen that a pixel of equal size covers, by the stage's own nm"),
    ),
)
PATTERN = FrameKind(
    "pattern",
    arrival=(
        Column("field", "<i4", "number of the field"),
        Column("crystal", "<i4", "number of the crystal within the field, from 1 in the order of the finder"),
        Column("fast_px", "<f8", "middle of the crystal in the image, on equal pixels; pixel i covers [i, i + 1)"),
        Column("slow_px", "<f8", "the same along slow"),
        Column("x_nm", "<f8", "the crystal's place: where the stage stands when it is in the middle of the image"),
        Column("y_nm", "<f8", "the same along y"),
        Column("beam_x", "<f8", "beam shift as set, in the instrument's own units"),
        Column("beam_y", "<f8", "the same along y"),
        Column("length_nm", "<f8", "longest edge of the crystal"),
        Column("is_isolated", "u1", "1 where nothing else is near it"),
    ),
)
BEAM = FrameKind(
    "beam",
    arrival=(
        Column("field", "<i4", "number of the field in whose image the probe was looked at"),
        Column("beam_x", "<f8", "beam shift as set, in the instrument's own units"),
        Column("beam_y", "<f8", "the same along y"),
    ),
)

FIELD = "field"
"""The note that a field is over: `field`, `how` (visited, no crystals, dark, hole, bar, asked, stage, lost), `found`
crystals, `visited` ones, `left` ones that the beam shift does not reach."""
BEAM_NOTE = "beam"
"""The note of what looks at the probe told: `field`, `looks`, `moved_nm`, `off_percent`, `probe_nm`."""
ROUTE = "route"
"""The note of the region: `centre_nm`, `total` fields, `queue` those to come."""
QUEUE = "queue"
"""The note that an operator has changed the order: `queue`, the fields to come."""
