"""A provider of our own on a real socket: quotas, latency, a queue, faults, planted defects. It exists to prove the rest.

In a test or a bench, on asyncio:

    from backends.emulator.server import serving
    from harness.core.emulation import Emulation, Faults, Latency, Quotas

    async with serving(Emulation(quotas=Quotas(requests=300), latency=Latency(first_s=0.05, spread=0.5), skill=0.8)) as emulator:
        ... emulator.base_url ...      # "http://127.0.0.1:41234/v1", for HttpBackend or a sweep's base_url
        emulator.statistics            # requests, admitted and refused, faults, arrival times; .peak(60.0)

As a process of its own: `lightbulb emulate --port 8080 quotas.requests=300 faults.rate=0.2`; what it has seen is at /emulator/statistics.
It speaks OpenAI's chat completions (/v1/chat/completions, /v1/models) and Anthropic's messages (/v1/messages), streamed or not.

Bots answer the turns of games. Which turn it is stands in the header `x-lightbulb-ask`, which our client sends only to loopback and only
for an access method with provider = "emulator" or "bots"; other requests are talked to by the automaton in speech.py. harness/core/
emulation.py describes every knob. Pure: luck.py, quota.py, speech.py, formats.py, provider.py; sockets: server.py.

Same seed and same requests, same bytes: what befalls a request depends on what is asked and how often it was asked before, not on the
order in which different requests arrive. Quotas, deaths and the queue follow the clock and are the exception."""
