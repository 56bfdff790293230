"""The contracts of `drivers.contract.Beam` and `drivers.contract.Optics`, as tests: blanker and diffraction lens."""

# ruff: noqa: D102, S101

import asyncio
import importlib
import json

import pytest

from drivers.conformance.bench import Bench, cancelled_soon, on_bench
from drivers.conformance.responsive import assert_responsive
from drivers.contract import Microscope
from engine.clock import Clock


class BeamConformance:
    """The contract of `drivers.contract.Beam`."""

    @on_bench
    async def test_the_blanker_does_what_it_is_told(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        beam = microscope.beam
        for _ in range(2):
            await beam.unblank()
            assert await beam.is_blanked() is False
            await beam.blank()
            assert await beam.is_blanked() is True

    @on_bench
    async def test_blanking_a_blanked_beam_is_harmless(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        for _ in range(3):
            await microscope.beam.blank()
        assert await microscope.beam.is_blanked() is True

    @on_bench
    async def test_calls_made_at_once_take_effect_in_order(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        beam = microscope.beam
        await asyncio.gather(beam.blank(), beam.unblank(), beam.blank())
        assert await beam.is_blanked() is True

    @on_bench
    async def test_after_a_cancelled_unblank_the_beam_can_be_blanked(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        await cancelled_soon(microscope.beam.unblank())
        await microscope.beam.blank()
        assert await microscope.beam.is_blanked() is True

    @on_bench
    async def test_no_call_to_the_blanker_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        beam = microscope.beam
        calls = {"beam.unblank": beam.unblank, "beam.is_blanked": beam.is_blanked, "beam.blank": beam.blank}
        await assert_responsive(clock, calls)

    @on_bench
    async def test_a_second_connection_blanks_the_beam(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        if (second := microscope.second_connection) is None:
            pytest.skip("this instrument serves one program")
        await microscope.beam.unblank()
        module, _, name = second.function.partition(":")
        arguments = json.loads(json.dumps(dict(second.arguments)))
        assert await asyncio.to_thread(getattr(importlib.import_module(module), name), **arguments) is True
        assert await microscope.beam.is_blanked()


class OpticsConformance:
    """The contract of `drivers.contract.Optics`."""

    @on_bench
    async def test_the_lens_keeps_the_value_it_was_given(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        optics = microscope.optics
        focus = await optics.focus()
        assert isinstance(focus, int)
        await optics.set_focus(focus + bench.defocus)
        assert await optics.focus() == focus + bench.defocus
        await optics.set_focus(focus)
        assert await optics.focus() == focus

    @on_bench
    async def test_a_larger_defocus_takes_no_less_to_settle(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        times_s = [microscope.optics.facts.settling_s(share * bench.defocus // 4) for share in range(9)]
        assert times_s == sorted(times_s)
        assert 0 <= times_s[0] <= times_s[4] < 10
        assert microscope.optics.facts.settling_s(-bench.defocus) == times_s[4]

    @on_bench
    async def test_a_cancelled_lens_call_leaves_the_lens_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        optics = microscope.optics
        focus = await optics.focus()
        await cancelled_soon(optics.set_focus(focus + bench.defocus))
        await cancelled_soon(optics.focus())
        await optics.set_focus(focus)
        assert await optics.focus() == focus

    @on_bench
    async def test_no_call_to_the_lens_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        optics = microscope.optics
        focus = await optics.focus()
        calls = {
            "optics.set_focus": lambda: optics.set_focus(focus + bench.defocus),
            "optics.focus": optics.focus,
            "optics.set_focus back": lambda: optics.set_focus(focus),
        }
        await assert_responsive(clock, calls)
