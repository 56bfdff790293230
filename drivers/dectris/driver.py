"""DECTRIS QUADRO, SINGLA, ELA and other detectors with the SIMPLON API: the entry in the register of drivers.

The series is *triggered* (trigger mode inte: one software trigger an exposure, which carries its exposure time, so that
snapshots cost nothing), *paced* by the detector (ints: short images without gaps, added up to the exposures asked for)
or paced after an *external* pulse (exts). What was changed in the detector's configuration is put back at the end.
Source: SIMPLON API reference 1.6 and 1.8; EIGER2 user manual 1.8, chapter 9 (trigger modes). docs/drivers/dectris.md.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from drivers.contract import Parts
from drivers.declared import Declared
from drivers.dectris.detector import Dectris
from drivers.dectris.rest import Simplon
from drivers.dectris.settings import MODES, Settings
from drivers.options import Options
from engine.clock import Clock
from engine.errors import DeviceError, Refused


class DectrisDriver:
    """The entry in the register of drivers."""

    name = "dectris"

    def address(self, options: Mapping[str, Any]) -> str | None:
        """Which instrument the options mean, for the lock."""
        settings = self._settings(options)
        return f"dectris {settings.host}:{settings.port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the detector without asking it. Raises Refused for an option."""
        facts = self._settings(options).facts()
        unknown = {
            "detector.shape": "the detector tells how large its pictures are",
            "detector.exposure_limits_s": "the detector tells its own",
            "geometry.pixel_size_mm": "the detector tells it",
        }
        if facts.saturation is None:
            unknown["detector.saturation"] = "the detector tells how deep its images are"
        if not facts.dtype:
            unknown["detector.dtype"] = "the first image tells it: depth_bits = 32, and the detector's own depth"
        return Declared(detector=facts, unknown=unknown)

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Connect the detector. Raises Refused for an option, DeviceError when it cannot be reached or is not ready.

        Leaving raises DeviceError when the detector could not be put back as it was found.
        """
        settings = self._settings(options)
        detector = Dectris(clock, Simplon(clock, settings.host, settings.port), settings)
        try:
            await detector.open()
            size_mm = detector.pixel_size_mm
            yield Parts(detector=detector, geometry={"pixel_size_mm": size_mm} if size_mm > 0 else {})
        except BaseException as error:
            try:
                await detector.close()
            except DeviceError as also:
                error.add_note(str(also))
            raise
        await detector.close()

    @staticmethod
    def _settings(given: Mapping[str, Any]) -> Settings:
        options, usual = Options("dectris", given), Settings()
        settings = Settings(
            host=options.text("host", usual.host),
            port=options.whole("port", usual.port, 1, 65535),
            stream_port=options.whole("stream_port", usual.stream_port, 1, 65535),
            series=options.text("series", usual.series, tuple(MODES)),
            overhead_s=options.number("overhead_s", usual.overhead_s, 1e-4, 60.0),
            subframe_s=options.number("subframe_s", usual.subframe_s, 1e-4, 60.0),
            longest_series_s=options.number("longest_series_s", usual.longest_series_s, 1.0, 1e6),
            initialize=options.flag("initialize", usual.initialize),
            flatfield_correction=options.flag("flatfield_correction", usual.flatfield_correction),
            countrate_correction=options.flag("countrate_correction", usual.countrate_correction),
            depth_bits=options.whole("depth_bits", usual.depth_bits, 16, 32),
        )
        options.finish()
        if settings.depth_bits not in (16, 32):
            raise Refused(f"devices: dectris: depth_bits = {settings.depth_bits} is not 16 or 32; nothing was started.")
        return settings


DECTRIS = DectrisDriver()
