import asyncio, pytest
from tests.protocols.cred.test_replay import *
P = {"exposure_s": 0.03, "speed_deg_s": 2.0, "range_deg": 2.5, "snapshot_interval": 10, "rotation": "commanded","start_deg":0.0,"relax_cycles":0,"formats":()}
D = simulated(api_call_s=0.01, lens={"slow_s": 0.02})
@pytest.mark.parametrize("k", range(8))
@pytest.mark.parametrize("how",["done","stop","abort","hang-blank","hang-focus","silent","drop","broken"])
def test_x(record_run, monkeypatch, k, how):
    def on(record, run):
        if how in("stop","abort") and record["kind"]=="frame" and record["slot"]==7+k:
            asyncio.get_running_loop().call_later(0.003*k, getattr(run.commands,how),"t")
    async def broken(): raise DeviceError("detector: stream")
    with monkeypatch.context() as patch:
        if how=="hang-blank": break_after(patch,(Blanker,"blank"),0,hang)
        if how=="hang-focus": break_after(patch,(Lens,"set_focus"),k,hang)
        if how=="silent": break_after(patch,(Timepix,"_expose"),9+k,hang)
        if how=="drop": break_after(patch,(Goniometer,"angle"),9+k,drop)
        if how=="broken":
            e=Timepix._expose
            async def br(self,queue,number,begin_ns,exposure_s):
                if number==9+k:
                    await self._clock.sleep_s(0.0123); queue.put_nowait(DeviceError("detector: broke")); return
                await e(self,queue,number,begin_ns,exposure_s)
            patch.setattr(Timepix,"_expose",br)
        run=record_run("cred",clock="real",devices=D,on=on,**P)
    assert_replays(run)
