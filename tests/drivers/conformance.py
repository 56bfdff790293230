"""Moved to drivers/conformance/, where changes belong; these are the old names."""

from drivers.conformance import BeamConformance as BeamConformance
from drivers.conformance import DetectorConformance as DetectorConformance
from drivers.conformance import MicroscopeConformance as MicroscopeConformance
from drivers.conformance import OpticsConformance as OpticsConformance
from drivers.conformance import StageConformance as StageConformance
