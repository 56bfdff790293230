"""CBF tables (int32, byte offset) through fabio: how XDS takes its geometric correction."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.products.atomic import replacing


def write_cbf(path: Path, table: NDArray[np.int32]) -> None:
    """Write one table (rows, columns); atomic. StorageError when the disk is full."""
    from fabio.cbfimage import CbfImage

    with replacing(path) as part:
        CbfImage(data=np.ascontiguousarray(table, dtype=np.int32)).write(str(part))
