"""AutoLEI's own monitor of a project, as its Realtime page runs it: run by the counterparts' Python, which has it.

`autoleimonitor.py PROJECT look` prints as JSON what it takes each folder for; `prepare` prepares these for XDS as well,
with cell and space group of mordenite, and has the primary beam looked for in the first picture of each.
"""

import json
import sys
from pathlib import Path

from autolei.core.instruments import bootstrap_user_state

bootstrap_user_state()  # as its program does before anything of it is imported

from autolei.app.realtime import RealTimeWorker  # noqa: E402
from autolei.src.image_io.beam_centre import find_direct_beam_center  # noqa: E402

project, work = sys.argv[1:]
worker = RealTimeWorker(project, "cluster", "18.256 20.534 7.542 90 90 90", "63", 0.8, True, False, False)
found = worker.update_status_dict({})
said = {name: {key: entry[key] for key in ("status", "source_type")} for name, entry in found.items()}
if work == "prepare":
    for name, entry in found.items():
        worker._prepare_instamatic_xds(entry["folder"])
        said[name]["xds_inputs"] = worker._find_dataset_xds_inputs(entry["folder"])
        picture = min(Path(entry["folder"]).glob("SMV/data/*.img"))
        said[name]["beam"] = find_direct_beam_center(str(picture))[0]
print(json.dumps(said))
